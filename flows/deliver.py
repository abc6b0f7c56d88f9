"""The flow behind the form that delivers: an edition's images cut, encoded and marked for their channels. Buys nothing.

Files go to the edition's own folder in the worker's archive. Certificate and key are those of the worker's environment.
"""

from typing import Annotated, Any, Literal, TypeAlias

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from adloom.core.counting import counted
from adloom.core.errors import AdloomError
from adloom.deliver.edition import Delivered, DeliverRequest
from adloom.orchestration.artifacts import show_table
from adloom.orchestration.form_files import FILES, CampaignFile
from adloom.orchestration.form_limits import form_limits
from adloom.orchestration.states import bad_input
from adloom.targets import RunRequest, settings_for
from adloom.wiring import deliver_target

Images: TypeAlias = Literal["approved, or all if nobody has decided", "approved", "all"]
_APPROVED: dict[str, bool | None] = {"approved": True, "all": False}


@flow(name="deliver", retries=0, persist_result=False)
async def deliver_campaign(
    campaign: CampaignFile = FILES[0],
    other_campaign: str = "",
    edition: str = "main",
    channels: str = "",
    images: Images = "approved, or all if nobody has decided",
    name: str = "",
    workers: Annotated[int, Field(ge=0, le=8)] = 0,
) -> State[Any]:
    """Make the files of an edition for its channels, and their record.

    Args:
        campaign: The campaign file. A new file is in this list once `make up` or `prefect deploy --all` has run again.
        other_campaign: A campaign file that is not in the list, by its path in campaigns/ or in another place that
            the worker allows. Empty: the one chosen above.
        edition: The issue of the campaign whose images are delivered.
        channels: Channels with commas between them, such as meta-story, google-square. Empty: those that the campaign
            names.
        images: Which images are delivered.
        name: A template for file names, such as "{{ sku }}-{{ locale }}". Empty: the campaign's own.
        workers: Images that are worked on at once. 0: one per processor.
    """
    try:
        source = other_campaign.strip() or campaign
        form_limits().check_source("campaign", source)
        asked = tuple(part.strip() for part in channels.split(",") if part.strip())
        request = DeliverRequest(asked, _APPROVED.get(images), name.strip(), workers or None)
        settings = settings_for(RunRequest(source))
        done = await deliver_target(source, settings, edition.strip() or "main", request)
    except AdloomError as error:
        return bad_input(error)
    refused = [_row(line) for line in done.result.lines if line["reason"]]
    if refused:
        await show_table(refused, "delivery", "Files that were refused, or that are below what their channel advises")
    return _state(done)


def _row(line: Any) -> dict[str, Any]:  # noqa: ANN401 - a line of the record
    return {name: line[name] for name in ("channel", "creative", "status", "reason")}


def _state(done: Delivered) -> State[Any]:
    result = done.result
    for note in done.notes:
        get_run_logger().info("%s", note)
    made = counted(result.made, "file")
    message = f"{made} made, {result.kept:,} were there, {result.refused:,} refused: {done.address}"
    return Failed(name="Refused", message=message) if result.refused else Completed(message=message)
