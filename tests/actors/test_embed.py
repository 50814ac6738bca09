from actors.embed import CPU, Embed
from actors.settings import EmbedSettings
from models.pack import load_pack
from supervisor import PACKS


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu(tmp_path):
    settings = EmbedSettings(str(PACKS / "sketch"), str(tmp_path), [1], "cuda:99")
    tower = Embed(settings)._open(load_pack(PACKS / "sketch"), "cuda:99")
    assert tower._session.device == CPU
