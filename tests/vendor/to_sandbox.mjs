// Preloaded into the vendor's client: sends what it sends to EvoLink's two hosts to the sandbox instead.
const sandbox = new URL(process.env.SANDBOX_URL);
const hosts = ["api.evolink.ai", "files-api.evolink.ai"];
const fetchAnywhere = globalThis.fetch;

globalThis.fetch = (address, options) => {
  const url = new URL(address);
  if (!hosts.includes(url.hostname)) throw new Error(`the client asked ${url.hostname}`);
  return fetchAnywhere(new URL(url.pathname + url.search, sandbox), options);
};
