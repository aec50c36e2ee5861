"""What experiments on one audit share: ranges of all cells, predicted harm, engines, answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.calibration.observation import Observation
from calaudit.explain.engines import Experiments, experiments_backend
from calaudit.explain.finding import Donor, Subject
from calaudit.explain.runs import Runs
from calaudit.explain.sensitivity import ROWS, measure_sensitivities
from calaudit.explain.suspects import MINIMAX, Predictor, Ranges
from calaudit.explain.transplants import Patient
from calaudit.explain.tuning import TuningSlice, halves, tuning_slice
from calaudit.formats.scales import open_scales
from calaudit.report.index import Index
from calaudit.results.comparison import ALL, Result
from calaudit.results.report import Report
from calaudit.runtime.pool import Rows


@dataclass(eq=False)
class Laboratory:
    """Puts experiments on harmed results together."""

    audit: Audit
    report: Report
    observation: Observation
    """Of the slices of the tuning rows."""
    runs: Runs

    def __post_init__(self) -> None:
        self._places: dict[tuple[str, str], TuningSlice | None] = {}
        self._experiments: dict[str, Experiments] = {}

    @cached_property
    def index(self) -> Index:
        """The report's."""
        return Index(self.report)

    @cached_property
    def planned(self) -> dict[str, PlannedCell]:
        """Cell id → what was planned."""
        return {cell.id: cell for cell in self.audit.plan.cells}

    @property
    def rows(self) -> Rows:
        """All tuning rows."""
        return self.audit.tuning.rows

    @cached_property
    def ranges(self) -> dict[str, Ranges]:
        """Cell → tap → amax, of those cells that have ranges of all taps that they quantize."""
        judged = {cell.id for cell in self.report.cells if cell.status == "judged"}
        found: dict[str, Ranges] = {}
        for cell in self.audit.plan.cells:
            if cell.scales is not None and cell.id in judged and cell.scales.exists():
                taps = open_scales(cell.scales).taps
                if all(tap in taps for tap in self.audit.qdq.taps):
                    found[cell.id] = {tap: taps[tap].amax for tap in self.audit.qdq.taps}
            if cell.foreign is not None and cell.id in judged:
                engine = self.audit.foreign[cell.foreign]
                if engine.needed and all(tap in engine.ranges for tap in engine.needed):
                    found[cell.id] = {tap: engine.ranges[tap].amax for tap in engine.needed}
        return found

    def experiments(self, planned: PlannedCell) -> Experiments:
        """What makes the engines of a cell's experiments."""
        if planned.backend not in self._experiments:
            backend = experiments_backend(self.audit, planned)
            self._experiments[planned.backend] = Experiments(self.audit, backend)
        return self._experiments[planned.backend]

    @cached_property
    def predictor(self) -> Predictor:
        """Predicts harm, weighted by what each tap's rounding does to the outputs."""
        alike = Predictor(self.observation)
        amax = alike.minimax(self.observation.groups)
        rng = np.random.default_rng(self.audit.seed)
        rows = np.sort(rng.choice(self.rows, min(ROWS, len(self.rows)), replace=False))
        found = measure_sensitivities(
            self.audit.folded,
            self.audit.qdq,
            self.audit.backend,
            pool=self.audit.pool,
            rows=rows,
            amax=amax,
            batch_size=self.audit.config.audit.batch_size,
        )
        harm = alike.harm(amax, ALL).total[:, 0]
        weights = dict(zip(found.taps, found.weights(harm).tolist(), strict=True))
        return Predictor(self.observation, weights)

    @cached_property
    def minimax(self) -> Ranges:
        """Ranges that minimise the worst harm of the slices with a gate; of all without any."""
        gated = {result.slice for result in self.report.results if result.gate is not None}
        known = self.predictor.slices
        return self.predictor.minimax([name for name in known if name in gated] or list(known))

    def place(self, result: Result) -> TuningSlice | None:
        """The tuning rows of a result's slice; None where there are none."""
        key = result.slice, result.metric
        if key not in self._places:
            self._places[key] = tuning_slice(self.audit, *key, self.rows)
        return self._places[key]

    def patient(self, cell: str) -> Patient:
        """A cell that experiments can be made of: one of `ranges`."""
        planned = self.planned[cell]
        experiments = self.experiments(planned)
        float_ops = frozenset(planned.float_ops)
        taps = experiments.taps(float_ops)
        return Patient({tap: self.ranges[cell][tap] for tap in taps}, float_ops, experiments)

    def others(self, cell: str, patient: Patient) -> dict[str, Ranges]:
        """Ranges of all other cells of the backend, and the minimax ones, by name."""
        backend = self.planned[cell].backend
        named = {
            name: ranges
            for name, ranges in self.ranges.items()
            if name != cell
            and self.planned[name].backend == backend
            and patient.ranges.keys() <= ranges.keys()
        }
        named[MINIMAX] = self.minimax
        return {
            name: {tap: ranges[tap] for tap in patient.ranges} for name, ranges in named.items()
        }

    def donors(
        self, slice_name: str, patient: Patient, others: Mapping[str, Ranges]
    ) -> Sequence[Donor]:
        """The best other cell, by predicted harm to the slice, and minimax ranges.

        Those that are predicted to do less harm than the cell's own ranges somewhere.
        """
        cells = [name for name in others if name != MINIMAX]
        best = sorted(cells, key=lambda name: self.predictor.total(others[name], slice_name))[:1]
        found = []
        for name in [*best, MINIMAX]:
            suspects = self.predictor.suspects(patient.ranges, others[name], slice_name)
            if suspects:
                found.append(Donor(name, others[name], suspects))
        return found

    def elsewhere(self, cell: str) -> str:
        """What a cell runs in, where experiments run in something else; else empty."""
        planned = self.planned[cell]
        if planned.foreign is not None:
            return "a graph that was made elsewhere, which may round at other places as well"
        if planned.given != "qdq":
            return "implicit quantization"
        own = experiments_backend(self.audit, planned) is self.audit.backends[planned.backend]
        return "" if own else planned.backend

    def subject(self, result: Result, place: TuningSlice) -> Subject:
        """A harmed result of a cell with `ranges`, ready for experiments."""
        patient = self.patient(result.cell)
        others = self.others(result.cell, patient)
        # of a small slice none of the rows may have been observed
        known = result.slice if result.slice in self.predictor.slices else ALL
        return Subject(
            result=result,
            place=place,
            patient=patient,
            donors=self.donors(known, patient, others),
            others=others,
            suspects=lambda donor, named: self.predictor.suspects(
                patient.ranges, donor, known, named
            ),
            halves=lambda: halves(self.audit, place),
            runs=self.runs,
            index=self.index,
            elsewhere=self.elsewhere(result.cell),
            level=self.audit.config.audit.level,
            seed=self.audit.seed,
        )
