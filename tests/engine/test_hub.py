import sys
import types

import pytest

from tenfold.engine import hub
from tenfold.engine.errors import TenfoldError

FILES = {"config.json": 100, "a/params.npz": 3_000_000_000, "b/params.npz": 5, "code.py": 7}


class HTTPError(Exception):
    pass


class FakeHub(types.ModuleType):
    """What huggingface_hub does, without a network; notes what it is asked."""

    def __init__(self, folder):
        super().__init__("huggingface_hub")
        self.folder, self.asked, self.fault = folder, [], None
        self.errors = types.SimpleNamespace(HTTPError=HTTPError)

    def HfApi(self, token=None):
        self.asked.append(("api", token))
        return self

    def model_info(self, name, *, revision, token, files_metadata):
        self.asked.append(("info", name, revision, token, files_metadata))
        if self.fault:
            raise self.fault
        entries = [types.SimpleNamespace(rfilename=n, size=s) for n, s in FILES.items()]
        return types.SimpleNamespace(siblings=entries)

    def snapshot_download(self, name, *, local_files_only=False, **wanted):
        self.asked.append(("download", name, local_files_only, wanted))
        if local_files_only and self.fault:
            raise self.fault
        return str(self.folder)

    def create_repo(self, name, *, private, exist_ok):
        self.asked.append(("create", name, private, exist_ok))
        if self.fault:
            raise self.fault

    def upload_folder(self, **wanted):
        self.asked.append(("upload", wanted))
        return f"https://hub.test/{wanted['repo_id']}"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = FakeHub(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", made)
    return made


def test_a_local_folder_needs_no_hub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert hub.find_folder(tmp_path) == tmp_path


def test_without_the_extra_its_name_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(TenfoldError, match=r'pip install "tenfold\[hub\]"'):
        hub.find_folder("owner/name")


def test_a_download_tells_its_size_first_and_never_takes_code(fake, capsys):
    found = hub.find_folder("owner/name", revision="abc", token="secret")
    assert found == fake.folder
    kinds = [asked[0] for asked in fake.asked]
    assert kinds == ["api", "info", "download"]
    told = capsys.readouterr().err
    assert "fetching owner/name at abc: 3 files, 3 GB" in told
    assert "secret" not in told
    *_, wanted = fake.asked[-1]
    assert wanted["revision"] == "abc"
    assert "*.py" in wanted["ignore_patterns"]


def test_only_the_files_that_are_wanted_are_counted_and_fetched(fake, capsys):
    hub.find_folder("owner/name", patterns=["b/*", "*.json"])
    assert "2 files, 1.05e-07 GB" in capsys.readouterr().err
    assert fake.asked[-1][-1]["allow_patterns"] == ["b/*", "*.json"]


def test_nothing_is_downloaded_where_that_was_not_allowed(fake, capsys):
    assert hub.find_folder("owner/name", download=False) == fake.folder
    assert [asked[:3] for asked in fake.asked] == [("download", "owner/name", True)]
    fake.fault = FileNotFoundError("not in the cache")
    with pytest.raises(TenfoldError, match="owner/name is not on this machine and nothing is"):
        hub.find_folder("owner/name", download=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("fault", [OSError("gated\nmore"), ValueError("bad"), HTTPError("gone")])
def test_what_the_hub_says_is_passed_on_in_one_line(fake, fault):
    fake.fault = fault
    with pytest.raises(TenfoldError, match=f"could not be fetched: {str(fault).splitlines()[0]}$"):
        hub.find_folder("owner/name")


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../a", "/etc/none", "owner/", "-/x"])
def test_what_is_neither_folder_nor_repository_is_refused(fake, name):
    with pytest.raises(TenfoldError, match="is no folder; give one, or a repository"):
        hub.find_folder(name)
    assert not fake.asked


def test_pushing_makes_a_private_repository_and_uploads_the_folder(fake, tmp_path, capsys):
    (tmp_path / "README.md").write_text("---\n---\n")
    address = hub.push_folder(tmp_path, "owner/name")
    assert address == "https://hub.test/owner/name"
    assert ("create", "owner/name", True, True) in fake.asked
    assert fake.asked[-1][1]["folder_path"] == str(tmp_path)
    assert "pushing" in capsys.readouterr().err


def test_pushing_without_a_card_or_name_is_refused(fake, tmp_path):
    with pytest.raises(TenfoldError, match=r"has no README.md"):
        hub.push_folder(tmp_path, "owner/name")
    (tmp_path / "README.md").write_text("")
    with pytest.raises(TenfoldError, match="is not of the form owner/name"):
        hub.push_folder(tmp_path, "name")
    fake.fault = HTTPError("401")
    with pytest.raises(TenfoldError, match="owner/name was not pushed: 401"):
        hub.push_folder(tmp_path, "owner/name")
