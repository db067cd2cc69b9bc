"""Builds the native core; everything else is in pyproject.toml."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension


class BuildOnAllCores(build_ext):
    """The files of an extension beside each other: each tier of kernels takes the compiler a quarter of a minute."""

    def build_extension(self, ext: Extension) -> None:
        one_by_one = self.compiler.compile

        def compile(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor() as pool:
                objects = pool.map(lambda source: one_by_one([source], **options), sources)
            return [name for names in objects for name in names]

        self.compiler.compile = compile
        super().build_extension(ext)


setup(
    cffi_modules=["native/build.py:ffi"],
    cmdclass={"build_ext": BuildOnAllCores},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
