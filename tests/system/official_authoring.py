"""
From nothing to a version and away again with the old service's own client, in both generations.

Clients 1.x answer with models that check what they are made of, clients 2.x with dictionaries.
Arguments: the key, the server, the account, a directory for clones. Run with the interpreter of an
environment that has `algorithmia`; ends with `done`.
"""

import subprocess
import sys
from pathlib import Path

import Algorithmia

SETTINGS = {
    "source_visibility": "closed",
    "license": "apl",
    "network_access": "isolated",
    "pipeline_enabled": True,
}


def main():
    key, api, username, place = sys.argv[1:]
    client = Algorithmia.client(key, api)
    has_models = not hasattr(client.algo(f"{username}/x"), "get_builds")
    name = "OldModels" if has_models else "OldDictionaries"
    algo = client.algo(f"{username}/{name}")

    environment = look_at_environments(client, Path(place) / f"template_{name}")
    assert not exists(client, algo)
    made = algo.create(
        details={"label": name, "summary": "", "tagline": ""},
        settings={**SETTINGS, "algorithm_environment": environment},
        version_info={"sample_input": "HAL"},
    )
    algorithm_id = of(made, "id")
    assert len(algorithm_id) == 36
    assert of(made, "name") == name
    assert of(of(made, "settings"), "algorithm_environment") == environment
    assert exists(client, algo)
    assert of(algo.get_scm_status(), "scm_connection_status") == "active"

    compiled = algo.compile()
    untouched = of(of(compiled, "version_info"), "git_hash")
    assert of(of(compiled, "compilation"), "successful") is True
    assert client.algo(f"{username}/{name}/{untouched}").pipe("John").result == "hello John"

    pushed = push(f"{api.replace('://', f'://{username}:{key}@')}/git/{username}/{name}.git", name)
    newest = of(builds(algo), "results")[0]
    assert of(newest, "commit_sha") == pushed
    assert of(newest, "status") == "succeeded"
    assert of(algo.get_build(of(newest, "build_id")), "commit_sha") == pushed
    logs = of(algo.get_build_logs(of(newest, "build_id")), "logs")
    assert "Beginning container customization" in logs
    assert client.algo(f"{username}/{name}/{pushed}").pipe("John").result == "goodbye John"

    published = algo.publish(
        version_info={"version_type": "minor", "release_notes": "First", "sample_input": "HAL"},
        settings={"algorithm_callability": "private"},
        details={},
    )
    assert published["version_info"]["semantic_version"] == "0.1.0"
    assert published["version_info"]["git_hash"] == pushed
    assert published["id"] == algorithm_id
    assert client.algo(f"{username}/{name}/0.1.0").pipe("John").result == "goodbye John"
    newest_version = client.algo(f"{username}/{name}/latestPrivate").set_options(timeout=60)
    assert newest_version.pipe("John").result == "goodbye John"

    updated = algo.update(
        details={"label": name, "summary": "New"},
        settings={"license": "apl", "source_visibility": "closed"},
        version_info={},
    )
    assert of(updated, "id") == algorithm_id
    if has_models:  # the others send a form, which has lost all values
        assert of(of(updated, "details"), "summary") == "New"
    assert of(of(algo.info(pushed), "version_info"), "semantic_version") == "0.1.0"
    assert algo.info() is not None
    look_at_versions(client, algo, has_models=has_models)

    client.manageApi.delete_algorithm(username, name)
    assert not exists(client, algo)
    print("done")


def of(answer, name):
    """Return a member of a dictionary, or of a model."""
    return answer[name] if isinstance(answer, dict) else getattr(answer, name)


def builds(algo):
    # Clients 1.x have `builds()` too, whose model names a class that they lack; this is the same.
    return algo.get_builds() if hasattr(algo, "get_builds") else algo.build_logs()


def exists(client, algo):
    if hasattr(algo, "exists"):
        return algo.exists()
    path = f"/v1/algorithms/{algo.username}/{algo.algoname}"
    return client.getHelper(path).text != '{"error":"No such algorithm"}'


def look_at_environments(client, template):
    assert "anaconda3" in [each["name"] for each in client.get_supported_languages()]
    environments = client.get_environment("python3")["environments"]
    assert any(each["display_name"] == "Python 3.8" for each in environments)
    client.get_template(environments[0]["environment_specification_id"], str(template))
    assert (template / "src").is_dir()
    assert (template / "requirements.txt").is_file()
    assert not (template / "template.tar.gz").exists()
    return environments[0]["id"]


def look_at_versions(client, algo, *, has_models):
    if has_models:
        # The model of this list names a class that the client does not have; it fails on any.
        answer = client.manageApi.get_algorithm_versions(
            algo.username, algo.algoname, published="true", _preload_content=False
        )
        assert b'"semantic_version":"0.1.0"' in answer.data
        return
    numbers = [
        each["version_info"]["semantic_version"]
        for each in algo.versions(limit=10, published=True)["results"]
    ]
    assert numbers == ["0.1.0"]
    assert algo.versions(callable=True)["results"] == []


def push(url, name):
    """Change the greeting as an author would; return the commit."""
    clone = Path(sys.argv[4]) / name
    git("clone", "--quiet", url, str(clone))
    for path in (clone / "src" / f"{name}.py", clone / "src" / f"{name}_test.py"):
        path.write_text(path.read_text().replace("hello", "goodbye"))
    author = ("-c", "user.name=Jane", "-c", "user.email=jane@example.org")
    git(*author, "commit", "--quiet", "--all", "--message", "Say goodbye", cwd=clone)
    git("push", "--quiet", "origin", "master", cwd=clone)
    return git("rev-parse", "HEAD", cwd=clone).strip()


def git(*arguments, cwd=None):
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


main()
