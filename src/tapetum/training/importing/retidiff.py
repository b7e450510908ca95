"""What is particular about Reti-Diff's option files: two stages, the second in two phases with rates of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

from tapetum.data.layouts import LAYOUTS
from tapetum.methods.registry import get_method, make_config
from tapetum.training.importing.content import Importer
from tapetum.training.importing.options import Options
from tapetum.training.importing.projects import RETIDIFF

PHASES = ("priors", "stage2")
"""Names of the two phases of stage 2."""
_FIRST = ("RetiDiffS1", "DiffIRS1_Cross")
_MODELS = {"RetiDiff_S1Model": True, "RetiDiff_S2Model": False}


class RetiDiffImporter(Importer):
    """An option file of stage 1 becomes a recipe; one of stage 2 two, of which :attr:`before` is the first."""

    @property
    def is_first(self) -> bool:
        """Stage 1."""
        return self.network.method == "retidiff_stage1"

    def recipe(self) -> dict[str, Any]:
        options = self.options
        network, model = options.section("network_g"), options.text("model_type", None)
        kind = network.text("type")
        if kind.endswith("S2_Interface"):
            network.refuse("type", f"{kind} is for use alone: RetiDiffS2 is trained")
        if model is not None and _MODELS.get(model, not self.is_first) != self.is_first:
            options.refuse("model_type", f"{model} does not train {kind}")
        if self.is_first:
            self._leave_out_loss("perceptual_opt")
            return super().recipe()
        self._check_teacher(network)
        return self._two_phases(super().recipe())

    def _leave_out_loss(self, key: str) -> None:
        train = self.options.section("train")
        if key in train:
            self.note(train.place(key), "left out: the objective has no such loss")
        train.take(key)

    def _check_teacher(self, network: Options) -> None:
        """``network_S1`` is a stage-1 network of the sizes of ``network_g``."""
        if "network_S1" not in self.options:
            self.options.refuse("network_S1", "is missing: stage 2 learns from a stage-1 network")
        teacher = self.options.section("network_S1")
        kind = teacher.text("type")
        if kind not in _FIRST:
            teacher.refuse("type", f"must be a stage-1 network ({', '.join(_FIRST)}), got {kind!r}")
        shared = RETIDIFF.networks[_FIRST[0]]
        for key, default in {**shared.fields, **shared.fixed}.items():
            ours, theirs = (section.take(key, default) for section in (network, teacher))
            if ours != theirs:
                teacher.refuse(key, f"must be equal to network_g.{key} ({ours}), got {theirs!r:.60}")
        teacher.refuse_unread()

    def _own_fields(self, data_set: str) -> dict[str, Any]:
        if self.is_first:
            return {}
        return {"auxiliary": True, "teacher": True, "task": LAYOUTS[data_set].task if data_set else ""}

    def _config(self, data_set: str) -> str | dict[str, Any]:
        config = super()._config(data_set)
        if isinstance(config, str):
            return config
        made = make_config(get_method(self.network.method), config)
        usual = {field.name: field.default for field in dataclasses.fields(made)}
        return {key: value for key, value in config.items() if getattr(made, key) != usual[key]}

    def _weights(self) -> dict[str, str]:
        path, options = self.options.section("path"), self.options
        weights, teacher = (path.text(key, None) for key in ("pretrain_network_g", "pretrain_network_S1"))
        if path.text("param_key_g", "params_ema") != "params_ema":
            self.note(path.place("param_key_g"), "the average (params_ema) is read where a file has one")
        path.take("strict_load_g")
        if path.take("resume_state") is not None:
            why = "left out: states of the official program cannot be resumed, tapetum resumes its own"
            self.note(path.place("resume_state"), why)
        if not self.is_first and teacher is not None and teacher != weights:
            if weights is None:
                why = "the transformer begins with this file, too; in the official program with fresh weights"
                weights = teacher
            else:
                why = "left out: the teacher is that of pretrain_network_g, as in every published file"
            self.note(path.place("pretrain_network_S1"), why)
        for key in ("pretrain_decomnet_low", "pretrain_decomnet_high"):
            if options.text(key, None) is not None:
                files = "LOW.pth" if self.is_first else "S1.pth --with LOW.pth"
                why = (
                    f"weights are one file here: `tapetum weights import {files} --with HIGH.pth -o OUT.safetensors` "
                    f"joins them, and `tapetum train ... {self._first_phase}weights=OUT.safetensors` begins with it"
                )
                self.note(key, why)
        return {} if weights is None else {"weights": weights}

    @property
    def _first_phase(self) -> str:
        """What a change to the recipe that is trained first begins with, where there are two."""
        if self.is_first or self.options.section("train").whole("encoder_iter", 0) <= 1:
            return ""
        return f"{PHASES[0]}."

    def _objective(self, train: Options) -> dict[str, Any]:
        """All pixel losses are L1; stage 2 has the weight and temperature of the priors' loss beside it."""
        pixel = train.section("pixel_opt")
        if pixel.text("type", "L1Loss") != "L1Loss":
            pixel.refuse("type", f"unknown loss {pixel.text('type')!r}, choose from L1Loss")
        if pixel.text("reduction", "mean") != "mean":
            pixel.refuse("reduction", "the objective has no other than mean")
        objective = {"pixel": pixel.number("loss_weight", 1.0)}
        usual = {"pixel": 1.0, "distillation": 1.0, "temperature": 0.15}
        if not self.is_first:
            distillation = train.section("kd_opt")
            kind = distillation.text("type", "KDLoss")
            if kind != "KDLoss":
                distillation.refuse("type", f"unknown loss {kind!r}, choose from KDLoss")
            objective["distillation"] = distillation.number("loss_weight", 1.0)
            objective["temperature"] = distillation.number("temperature", 0.15)
        objective = {key: value for key, value in objective.items() if value != usual[key]}
        return {"objective": objective} if objective else {}

    def _schedule(self, train: Options, steps: int) -> dict[str, Any]:
        if self.is_first:
            return super()._schedule(train, steps)
        section = train.section("scheduler")
        if section.keys:
            self.note(
                section.place("type"), "without effect, as any schedule in stage 2: the phases have their own rates"
            )
        for key in section.keys:
            section.take(key)
        if train.whole("warmup_iter", -1) > 0:
            self.note(train.place("warmup_iter"), "without effect in stage 2")
        return {}  # each phase has its own

    def _two_phases(self, content: dict[str, Any]) -> dict[str, Any]:
        """``content`` becomes the recipe of the second phase, and :attr:`before` that of the first."""
        train = self.options.section("train")
        total, switch = content["run"]["steps"], train.whole("encoder_iter", 0)
        if switch >= total:
            train.refuse("encoder_iter", f"the joint phase would begin after the end ({total})")
        first = max(0, switch - 1)  # the joint phase begins at iteration ``encoder_iter``, counted from 1
        base = content["optimiser"]["rate"]
        if first:
            schedule, rate = self._steps(train, "encoder", first, 1, base)
            before = {**content, "objective": {**content.get("objective", {}), "phase": "prior"}}
            before["optimiser"] = {**content["optimiser"], "rate": rate}
            self.before = {
                **before,
                "data": _from_iteration(content["data"], 0, first),
                "schedule": schedule,
                "run": {**content["run"], "steps": first},
            }
        schedule, rate = self._steps(train, "sr", total - first, 0 if switch else 1, base)
        return {
            **content,
            "data": _from_iteration(content["data"], first, total),
            "optimiser": {**content["optimiser"], "rate": rate},
            "schedule": schedule,
            "run": {**content["run"], "steps": total - first},
        }

    def _steps(self, train: Options, which: str, steps: int, lead: int, base: float) -> tuple[dict[str, Any], float]:
        """Schedule and base rate of ``lr gamma^floor((i + lead - 1) / decay)``, i the phase's iteration from 1 on."""
        rate, gamma = train.number(f"lr_{which}", base), train.number(f"gamma_{which}", 1.0)
        decay = train.whole(f"lr_decay_{which}", steps + 1)
        if decay < 1:
            train.refuse(f"lr_decay_{which}", f"must be at least 1, got {decay}")
        milestones = [end - lead for end in range(decay, steps + lead, decay)]
        return {"kind": "multi_step", "milestones": milestones, "gamma": gamma}, rate


def _from_iteration(data: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    """The data section for the steps from ``begin`` to ``end`` of the whole training."""
    sizes = {"patch": data["patch"], "batch": data["batch"]}
    later = []
    for phase in data.get("progressive", []):
        if phase["after"] <= begin:
            sizes = {"patch": phase["patch"], "batch": phase["batch"]}
        elif phase["after"] < end:
            later.append({**phase, "after": phase["after"] - begin})
    plain = {key: value for key, value in data.items() if key != "progressive"} | sizes
    return {**plain, "progressive": later} if later else plain
