"""`edge-bench verify`: is a bundle whole, and who signed it?"""

import argparse

from edge_bench import render
from edge_bench.bundle import open_bundle
from edge_bench.commands import arguments, output
from edge_bench.signature import signature_path, verify_signature


def add_arguments(verify: argparse.ArgumentParser) -> None:
    """Its command line."""
    verify.add_argument("bundle", metavar="BUNDLE", help="folder or .tar that `edge-dendrite export` wrote")
    verify.add_argument("--allowed-signers", metavar="FILE", help="who may sign, with which key: see ssh-keygen(1)")
    verify.add_argument("--signer", metavar="NAME", help="who must have signed, a name in that file")
    verify.add_argument("--signature", metavar="FILE", help="detached signature (default: BUNDLE.sig)")
    arguments.add_json(verify)
    verify.set_defaults(handler=_verify, fail=verify.error)


def _verify(given: argparse.Namespace) -> int:
    wanted = (given.allowed_signers, given.signer)
    if any(value is not None for value in wanted + (given.signature,)) and not all(wanted):
        given.fail("a signature is checked with both --allowed-signers FILE and --signer NAME")
    bundle = open_bundle(given.bundle)
    if given.signer:
        signature = given.signature or signature_path(bundle.path)
        verify_signature(bundle, signature, given.allowed_signers, given.signer)
    result = {"path": bundle.path, "id": bundle.id, "signer": given.signer}
    output.print_result(result, render.render_verified, given.json)
    return output.EXIT_DONE
