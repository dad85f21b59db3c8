# Debian 12 has Python 3.11.2; tarfile's filter=, which kserve-storage uses, came with 3.11.4. Accept it, as upstream's image does.
import tarfile

if not hasattr(tarfile, "data_filter"):
    _extractall = tarfile.TarFile.extractall

    def extractall(self, path=".", members=None, *, numeric_owner=False, filter=None):
        return _extractall(self, path, members, numeric_owner=numeric_owner)

    tarfile.TarFile.extractall = extractall
