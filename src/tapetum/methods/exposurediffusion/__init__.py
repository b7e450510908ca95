"""ExposureDiffusion (ICCV 2023). See README.md in this folder."""

from tapetum.methods.contract import Method
from tapetum.methods.exposurediffusion.checkpoint import recognise
from tapetum.methods.exposurediffusion.exposure import expose
from tapetum.methods.exposurediffusion.network import Backbone, ExposureDiffusionConfig, make_network
from tapetum.methods.exposurediffusion.objective import ExposureObjective

_NAF2 = {"enc_blk_nums": (2, 2, 4, 4), "middle_blk_num": 12, "dec_blk_nums": (2, 2, 2, 2)}
_NAF3 = {"enc_blk_nums": (1, 1, 1, 1), "middle_blk_num": 1, "dec_blk_nums": (1, 1, 1, 1)}


def _nafnet(concat_origin: bool = False, **fields: object) -> ExposureDiffusionConfig:
    return ExposureDiffusionConfig("nafnet", concat_origin=concat_origin, **fields)  # type: ignore[arg-type]


METHOD = Method(
    name="exposurediffusion",
    title="ExposureDiffusion: learning to expose for low-light image enhancement (ICCV 2023)",
    network=make_network,
    config=ExposureDiffusionConfig,
    configs={
        "sid_pg": ExposureDiffusionConfig(),
        "sid_pgru": ExposureDiffusionConfig(concat_origin=True),
        "sid_real": ExposureDiffusionConfig(concat_origin=True),
        "sid_pg_naf2": _nafnet(**_NAF2),
        "sid_pgru_naf2": _nafnet(True, **_NAF2),
        "pg_naf1": _nafnet(),
        "pgru_naf1": _nafnet(True),
        "pg_naf3": _nafnet(**_NAF3),
        "pgru_naf3": _nafnet(True, **_NAF3),
        "pg_naf4": _nafnet(middle_blk_num=8),
        "pgru_naf4": _nafnet(True, middle_blk_num=8),
        "baseline": ExposureDiffusionConfig(with_photon=False, adaptive_res_and_x0=False),
        # one call: after a short training more gain nothing (README)
        "narrow": _nafnet(True, width=16, enc_blk_nums=(1, 1, 1), middle_blk_num=2, dec_blk_nums=(1, 1, 1), iter_num=0),
        "tiny": _nafnet(True, width=4, enc_blk_nums=(1,), middle_blk_num=1, dec_blk_nums=(1,)),
    },
    recognise=recognise,
    objective=ExposureObjective,
)

__all__ = ["METHOD", "Backbone", "ExposureDiffusionConfig", "ExposureObjective", "expose"]
