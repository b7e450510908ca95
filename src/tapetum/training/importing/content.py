"""Turns the sections of one option file into those of a recipe."""

from __future__ import annotations

import inspect
import re
from typing import Any

from tapetum.errors import UsageError
from tapetum.methods.registry import get_method, make_config
from tapetum.training.importing.datasets import Note, import_training_set
from tapetum.training.importing.options import Options
from tapetum.training.importing.projects import Network, Project
from tapetum.training.importing.schedules import import_schedule


def _plain(value: Any) -> Any:
    """Whole numbers that are written as floats (``!!float 48``) as whole numbers, also in lists."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Importer:
    """Turns the sections of one option file into those of a recipe."""

    def __init__(self, options: Options, project: Project, network: Network, note: Note) -> None:
        self.options = options
        self.project = project
        self.network = network
        self.note = note

    before: dict[str, Any] | None = None
    """Of a training in two phases, the recipe of the first, once :meth:`recipe` has made the second's."""

    def recipe(self) -> dict[str, Any]:
        options = self.options
        options.text("model_type", None)  # the official training wrapper; network_g.type says what is trained
        options.section("dist_params")  # none of its keys is wanted: each is reported
        if options.whole("scale", 1) != 1:
            options.refuse("scale", "must be 1: pictures keep their size")
        train = options.section("train")
        data, data_set = self._data(train)
        content: dict[str, Any] = {"name": self._name(), "method": self.network.method}
        content["config"] = self._config(data_set)
        content |= self._weights()
        content |= self._objective(train)
        content["data"] = data
        content["optimiser"] = self._optimiser(train)
        steps = train.whole("total_iter")
        content["schedule"] = self._schedule(train, steps)
        content["run"] = self._run(train, steps)
        return content

    def _schedule(self, train: Options, steps: int) -> dict[str, Any]:
        return import_schedule(train, self.project.schedules, steps, self.note)

    def _name(self) -> str:
        name = self.options.text("name", self.network.method)
        if "debug" in name:
            why = "the official program would validate, print and save every 8 iterations; the file's own numbers count"
            self.note("name", why)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or self.network.method

    def _config(self, data_set: str) -> str | dict[str, Any]:
        """The name of a configuration of ours, or its fields where none is equal."""
        section, network = self.options.section("network_g"), self.network
        fields = {key: _plain(section.take(key, default)) for key, default in network.fields.items()}
        fixed = {key: section.take(key, value) for key, value in network.fixed.items()}
        equal = {key: section.take(key, fields[other]) for key, other in network.equal.items()}
        unused = [key for key in network.without_effect if section.take(key) is not None]
        section.refuse_unread()
        for key, value in fields.items():
            if value is None:
                section.refuse(key, "is missing")
        for key, value in fixed.items():
            if value != network.fixed[key]:
                section.refuse(key, f"must be {network.fixed[key]}, got {value!r:.60}")
        for key, value in equal.items():
            if value != fields[network.equal[key]]:
                section.refuse(key, f"must be equal to {network.equal[key]}, got {value!r:.60}")
        for key in unused:
            self.note(section.place(key), "ignored: the network takes it and does not use it")
        method = get_method(network.method)
        fields |= self._own_fields(data_set)
        try:
            config = make_config(method, fields)
        except UsageError as error:
            raise UsageError(f"{self.options.file}: network_g: {error}") from None
        names = [name for name, published in method.configs.items() if published == config]
        wanted = self.project.config_names.get(data_set)
        if wanted in names:
            return wanted
        return names[0] if names else fields

    def _own_fields(self, data_set: str) -> dict[str, Any]:
        """Fields of our configuration that no option file has."""
        return {}

    def _weights(self) -> dict[str, str]:
        path = self.options.section("path")
        weights = path.text("pretrain_network_g", None)
        if path.take("param_key_g", "params") != "params":
            why = "weights are read from the entry params; tapetum weights import --ema FILE takes the average out"
            self.note(path.place("param_key_g"), why)
        if not path.flag("strict_load_g", True):
            self.note(path.place("strict_load_g"), "weights always load strictly")
        if path.take("resume_state") is not None:
            why = "left out: states of the official program cannot be resumed, tapetum resumes its own"
            self.note(path.place("resume_state"), why)
        return {} if weights is None else {"weights": weights}

    def _objective(self, train: Options) -> dict[str, Any]:
        section = train.section("pixel_opt")
        kind = section.text("type", None)
        if kind is None:
            train.refuse("pixel_opt", "is missing: there is no loss to train by")
        losses = self.project.losses
        if kind not in losses:
            section.refuse("type", f"unknown loss {kind!r}, choose from {', '.join(losses)}")
        loss = losses[kind]
        if kind == "PSNRLoss" and section.flag("toY", False):
            loss = "psnr_y"
        objective = {} if loss == "l1" else {"loss": loss}
        make = get_method(self.network.method).objective
        assert make is not None
        for theirs, ours, value, usual in (
            ("loss_weight", "weight", section.number("loss_weight", 1.0), 1),
            ("reduction", "reduction", section.text("reduction", "mean"), "mean"),
        ):
            if value == usual:
                continue
            if ours in inspect.signature(make).parameters:
                objective[ours] = value
            else:
                self.note(section.place(theirs), f"the objective of {self.network.method} has no other than {usual}")
        try:
            make(**objective)
        except UsageError as error:
            raise UsageError(f"{self.options.file}: train.pixel_opt: {error}") from None
        return {"objective": objective} if objective else {}

    def _data(self, train: Options) -> tuple[dict[str, Any], str]:
        sets = self.options.section("datasets")
        phases = [key for key in sets.keys if key.split("_")[0] == "train"]
        if len(phases) != 1:
            sets.refuse("train", f"one training set is needed, there are {len(phases)}")
        progressive = self.project.progressive
        data, name = import_training_set(sets.section(phases[0]), progressive, self.note)
        mixing = train.section("mixing_augs")
        if mixing.flag("mixup", False):
            data = {**data, "mixup": mixing.number("mixup_beta", 1.2)}
            if not mixing.flag("use_identity", False):
                self.note(mixing.place("use_identity"), "recipes mix every other batch on average, not all of them")
        mixing.take("mixup_beta")
        mixing.take("use_identity")
        return data, name

    def _optimiser(self, train: Options) -> dict[str, Any]:
        section, kinds = train.section("optim_g"), self.project.optimisers
        kind = section.text("type")
        if kind not in kinds:
            section.refuse("type", f"unknown optimiser {kind!r}, choose from {', '.join(kinds)}")
        result: dict[str, Any] = {"name": kinds[kind], "rate": section.number("lr")}
        result["betas"] = section.numbers("betas", [0.9, 0.999])
        # PyTorch's own defaults, where the file says nothing
        decay = section.number("weight_decay", 0.01 if kind == "AdamW" else 0.0)
        section.refuse_unread()
        if decay:
            result["weight_decay"] = decay
        if self.project.clip_norm:
            if "use_grad_clip" not in train:
                self.note(train.place("use_grad_clip"), "is missing: taken for true, as in every published file")
            if train.flag("use_grad_clip", True):
                result["clip_norm"] = self.project.clip_norm
        return result

    def _run(self, train: Options, steps: int) -> dict[str, Any]:
        options = self.options
        run: dict[str, Any] = {"steps": steps}
        seed = options.whole("manual_seed", None)
        if seed is None:
            self.note("manual_seed", "recipes always have a seed: the default one is taken")
        else:
            run["seed"] = seed
        if ema := train.number("ema_decay", 0.0):
            run["ema"] = ema
        if self.project.amp and options.flag("use_amp", False):
            run["precision"] = "16-mixed"
        devices = options.take("num_gpu", "auto")
        run["devices"] = devices if devices == "auto" else options.whole("num_gpu")
        if run["devices"] == 0:
            self.note("num_gpu", "0 means the processor in the official program; here: one device")
            run["devices"] = 1
        for key, section, theirs in (
            ("validate_every", "val", "val_freq"),
            ("save_every", "logger", "save_checkpoint_freq"),
            ("log_every", "logger", "print_freq"),
        ):
            every = options.section(section).whole(theirs, None)
            if every is not None:
                run[key] = every
        return run
