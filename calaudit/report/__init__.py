"""What an audit found: records, report.json, the terminal's tables, verdict and exit status.

`records` holds the frozen values, `verdicts` puts a report together and judges the whole,
`document`, `schema` and `files` are report.json, `index`, `wording`, `headline`, `tables` and
`terminal` what people read. Each further form of the report is one more module beside these.
"""

from calaudit.report.compared import ComparedRangesRecord, ComparedTapRecord
from calaudit.report.document import FORMAT_VERSION, from_document, to_document, without_times
from calaudit.report.faults import (
    AttributionRecord,
    ElsewhereRecord,
    GapRecord,
    PartRecord,
    ScreenedRecord,
)
from calaudit.report.files import read_report, write_report
from calaudit.report.headline import headline
from calaudit.report.plain import plain
from calaudit.report.rankings import (
    ExemplarRecord,
    ExemplarsRecord,
    FlowRecord,
    LossRecord,
    MovedItemRecord,
    RankingRecord,
    RankingSliceRecord,
)
from calaudit.report.records import (
    ALL,
    AgreementRecord,
    Artefact,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    CompositionRow,
    EngineRecord,
    Flips,
    Gate,
    MetricRecord,
    ReferenceRecord,
    Report,
    ResultRecord,
    SliceRecord,
    Verdict,
)
from calaudit.report.schema import report_schema
from calaudit.report.tables import View
from calaudit.report.terminal import print_report, render_report, write_svg
from calaudit.report.verdicts import EXIT_STATUS, assemble, exit_status, overall_verdict

__all__ = [
    "ALL",
    "EXIT_STATUS",
    "FORMAT_VERSION",
    "AgreementRecord",
    "Artefact",
    "AttributionRecord",
    "AuditRecord",
    "CalibsetRecord",
    "CellRecord",
    "ComparedRangesRecord",
    "ComparedTapRecord",
    "CompositionRow",
    "ElsewhereRecord",
    "EngineRecord",
    "ExemplarRecord",
    "ExemplarsRecord",
    "Flips",
    "FlowRecord",
    "GapRecord",
    "Gate",
    "LossRecord",
    "MetricRecord",
    "MovedItemRecord",
    "PartRecord",
    "RankingRecord",
    "RankingSliceRecord",
    "ReferenceRecord",
    "Report",
    "ResultRecord",
    "ScreenedRecord",
    "SliceRecord",
    "Verdict",
    "View",
    "assemble",
    "exit_status",
    "from_document",
    "headline",
    "overall_verdict",
    "plain",
    "print_report",
    "read_report",
    "render_report",
    "report_schema",
    "to_document",
    "without_times",
    "write_report",
    "write_svg",
]
