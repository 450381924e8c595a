"""What a refusal looks like, shared by the tests of the command line."""


def refused(result, *texts):
    """Exit code 2 and one clear message, which holds each of the texts."""
    code, _, errors = result
    message = " ".join(errors.split())
    assert code == 2, errors
    assert errors.count("Error: ") == 1 and "Traceback" not in errors
    for text in texts:
        assert text in message, message
