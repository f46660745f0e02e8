"""
The table of options: every one once, with its name, type, default and help.

`serve` offers each as `--name` and reads it from `ALGORIUM_NAME`; nothing else reads the
environment. `app` reads the values and hands plain ones on. The module is as long as the options
are many: a catalogue, one after the other.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal

from algorium_server.data.storage_url import StorageUrl
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.federation import (
    ClaimRules,
    ProviderSettings,
    tags_of,
)
from algorium_server.domain.limits import (
    BUILD_TIMEOUT_S,
    BUILDS_CONCURRENT_MAX,
    BUILDS_WAITING_PER_OWNER_MAX,
    CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
    GATEWAYS_MAX,
    MIB,
    MODEL_CACHE_BYTES_MAX_DEFAULT,
    PUSH_BYTES_MAX_DEFAULT,
    SLOTS_MAX,
    VOID_CALLS_WAITING_PER_ACCOUNT_MAX,
)
from algorium_server.domain.names import check_account_name
from algorium_server.domain.proxies import Proxies, ProxyHeaders, parse_proxies
from algorium_server.domain.quotas import LARGEST, Quotas
from algorium_server.engine.reach import parse_allowed
from algorium_server.options import Option, option, options_of
from algorium_server.services.files.reaching import AllowedPlace, parse_places

LOCAL_STORAGE: Final = "local"

_PACKAGE: Final = Path(__file__).resolve().parent


def _examples_dir() -> Path:
    """Return where the examples lie: in the installed package, else in the checkout around it."""
    installed = _PACKAGE / "examples"
    return installed if installed.is_dir() else _PACKAGE.parents[3] / "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator decides, valid from birth."""

    # Paths say how their default is shown: where it lies differs between machines.
    home: Path = field(
        default=Path("~/.algorium"),
        metadata={
            "help": "Directory that holds everything: database, files, sources, keys.",
            "shown": "~/.algorium",
        },
    )
    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(8080, "Port to listen on; 0 picks a free one.")
    public_url: str = option(
        "", "Address under which clients reach the server, if it is not the one it listens on."
    )
    trusted_proxies: str = option(
        "",
        "Networks of the proxies in front of the server, such as 10.0.0.0/8,127.0.0.1; separated by"
        " commas. What just these say in their headers decides where a caller comes from, and"
        " whether over TLS. Without any such header counts.",
    )
    proxy_headers: Literal["x-forwarded", "forwarded"] = option(
        "x-forwarded",
        "What those proxies write: X-Forwarded-For and X-Forwarded-Proto, or Forwarded. The other"
        " kind is ignored, since a proxy passes on what callers make up of it.",
    )
    demo: bool = option(False, "Build and publish the demo algorithms on the first start.")
    examples_dir: Path = field(
        default=_examples_dir(),
        metadata={
            "help": "Directory of the projects that --demo publishes.",
            "shown": "those of this release",
        },
    )
    admin_username: str = option("admin", "Name of the administrator made on the first start.")
    database: str = option(
        "", "Database URL. Empty: the SQLite file algorium.db in the home directory."
    )
    upgrade: bool = option(
        False,
        "Bring the database of an older release up to date when the server starts, after a backup"
        " into the home directory. Without it such a database is refused.",
    )
    storage: str = option(
        LOCAL_STORAGE,
        "Where the bytes of larger files are kept: local for the home directory, or a place in an"
        " object store, such as s3://BUCKET/PREFIX?endpoint=https://HOST.",
    )
    engine: Literal["local", "ray"] = option(
        "local", "What runs algorithms: processes on this machine. A Ray cluster comes later."
    )
    sandbox: Literal["auto", "full", "reduced"] = option(
        "auto", "Level of isolation to insist on; auto takes the strongest this host offers."
    )
    unsafe_no_sandbox: bool = option(
        False, "Run algorithms with no sandbox at all: their code can do whatever the server can."
    )
    network_allow: str = option(
        "",
        "Networks that algorithms with network access may reach beside public addresses, such as"
        " 10.1.0.0/16; separated by commas.",
    )
    connector_allow: str = option(
        "",
        "What connectors may be pointed at beside Amazon's, Google's, Azure's and Dropbox's own"
        " services, package indexes and source hosts beside public ones, and where secret"
        " providers may be: networks, addresses, hosts, with or without a port, such as"
        " 10.1.0.0/16,127.0.0.1:9000,*.example.com; public for all public addresses. Only what is"
        " named may be reached without TLS.",
    )
    zygotes: Literal["on", "off"] = option(
        "on",
        "Keep processes with the libraries of used environments ready, from which slots are forked"
        " in milliseconds. Sandbox level full only.",
    )
    workers: int = option(
        1,
        "Gateway processes. Each serves connections and has its share of the slots; more than one"
        " pay off when one keeps a processor busy.",
    )
    slots_max: int = option(
        SLOTS_MAX, "Warm algorithm processes to keep at the same time, at most."
    )
    memory_budget_mib: int = option(
        0, "Memory for all slots together; 0 takes three quarters of what is free at the start."
    )
    memory_accounting: Literal["expected", "limit"] = option(
        "expected",
        "What a slot counts for: what slots of its version were seen to need, or its limit."
        " With limit no memory is ever promised twice, and far fewer slots fit.",
    )
    slot_cpus: float = option(
        0.0,
        "Processors that one slot may use at most, such as 1.5, where control groups can limit it;"
        " 0 for no limit. Without one, slots share what there is equally.",
    )
    builds_max: int = option(
        BUILDS_CONCURRENT_MAX,
        "Builds that run at the same time; each algorithm has one at a time anyway.",
    )
    build_timeout_s: float = option(
        BUILD_TIMEOUT_S, "Seconds that one build may take, from the checkout to the last test."
    )
    account_concurrent_calls_max: int = option(
        CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
        "Calls that each account may have open at the same time; like all limits of accounts,"
        " unless an administrator says otherwise of one.",
    )
    account_calls_per_minute_max: int = option(
        0, "Calls that each account may begin in a minute of the clock; 0 for no limit."
    )
    account_void_calls_waiting_max: int = option(
        VOID_CALLS_WAITING_PER_ACCOUNT_MAX, "Void calls of each account that may wait to run."
    )
    account_builds_waiting_max: int = option(
        BUILDS_WAITING_PER_OWNER_MAX, "Builds of each account that may wait or be under way."
    )
    account_build_minutes_max: int = option(
        0, "Minutes that builds of each account may take in a month; 0 for no limit."
    )
    account_compute_seconds_max: int = option(
        0, "Seconds that calls of each account may run in a month; 0 for no limit."
    )
    account_bytes_max: int = option(
        0, "Bytes that each account may store in all its files together; 0 for no limit."
    )
    account_files_max: int = option(0, "Files that each account may store; 0 for no limit.")
    scrub_days: float = option(
        30.0,
        "Days in which every stored file is read once to see whether it is still what was stored;"
        " 0 for never.",
    )
    # A year and a month: each month can be compared with the same one a year ago.
    usage_keep_days: int = option(
        400, "Days for which the usage of each call is kept; 0 keeps it for ever."
    )
    scm_poll_s: float = option(
        300.0,
        "Seconds between two looks for pushes to GitHub, GitLab or Bitbucket that no webhook told"
        " of; 0 for none.",
    )
    push_mib_max: int = option(PUSH_BYTES_MAX_DEFAULT // MIB, "What one git push may send, in MiB.")
    model_cache_mib: int = option(
        MODEL_CACHE_BYTES_MAX_DEFAULT // MIB,
        "Disk for model files that algorithms fetch from elsewhere, in MiB, so that they are"
        " fetched once; 0 fetches them each time.",
    )
    shutdown_grace_s: float = option(
        10.0, "Seconds that calls in flight may take to finish when the server is told to stop."
    )
    oidc_issuer: str = option(
        "",
        "Identity provider whose users may sign in: its issuer, to the letter, such as"
        " https://login.example.com/realms/company. Empty: none.",
    )
    oidc_client_id: str = option(
        "",
        "What this server is called at the identity provider; empty for tokens of programs only.",
    )
    oidc_client_secret_file: str = option(
        "", "File with the client secret, if the identity provider gave one."
    )
    oidc_audience: str = option(
        "", "What must stand in aud of tokens that programs show; empty takes --oidc-client-id."
    )
    oidc_jwks_url: str = option(
        "", "Where the identity provider publishes its keys; empty asks its discovery document."
    )
    oidc_scope: str = option(
        "openid profile email", "What is asked for when people sign in with a browser."
    )
    oidc_username_claim: str = option(
        "", "Claim that names a user for ever, here external_id; empty takes sub."
    )
    oidc_email_claim: str = option("email", "Claim with the e-mail address of new users.")
    oidc_group_claim: str = option(
        "",
        "Claim that lists the groups of a user, which then decide about roles in organizations;"
        " realm_access.roles looks into an object. Empty: groups decide nothing.",
    )
    oidc_admin_groups: str = option(
        "", "Groups that make administrators of this server, separated by commas."
    )
    oidc_viewer_groups: str = option("", "The same for those who see everything.")
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "Least important lines to log."
    )
    log_format: Literal["auto", "json", "logfmt", "console"] = option(
        "auto", "Shape of log lines; auto is console on a terminal and logfmt elsewhere."
    )

    def __post_init__(self) -> None:
        """
        Check what the types do not say.

        Raises:
            InvalidInput: A value that is never right.
            Unavailable: A value that this version cannot serve.
        """
        for name in ("home", "examples_dir"):
            object.__setattr__(self, name, getattr(self, name).expanduser().absolute())
        if not 0 <= self.port <= 65535:
            raise InvalidInput(f"--port must be between 0 and 65535, not {self.port}")
        if not 1 <= self.workers <= GATEWAYS_MAX:
            raise InvalidInput(
                f"--workers must be between 1 and {GATEWAYS_MAX}, not {self.workers}"
            )
        if self.slots_max < 1:
            raise InvalidInput(f"--slots-max must be at least 1, not {self.slots_max}")
        if self.slots_max < self.workers:
            raise InvalidInput(
                f"--slots-max must be at least --workers: {self.slots_max} slots are too few for"
                f" {self.workers} gateways"
            )
        if self.usage_keep_days < 0:
            raise InvalidInput(f"--usage-keep-days must be 0 or more, not {self.usage_keep_days}")
        if self.memory_budget_mib < 0:
            raise InvalidInput(
                f"--memory-budget-mib must be 0 or more, not {self.memory_budget_mib}"
            )
        if not 0 <= self.shutdown_grace_s < float("inf"):
            raise InvalidInput("--shutdown-grace-s must be a number of seconds, 0 or more")
        check_account_name(self.admin_username)
        try:
            _ = self.proxies
        except ValueError as error:
            raise InvalidInput(f"--trusted-proxies: {error}") from None
        self._check_slots()
        self._check_authoring()
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise InvalidInput("--public-url must begin with http:// or https://")
        if self.unsafe_no_sandbox and self.sandbox != "auto":
            raise InvalidInput("--unsafe-no-sandbox contradicts --sandbox: give one of them")
        self._check_storage()
        self._check_identity_provider()
        if self.engine == "ray":
            raise Unavailable(
                "--engine ray is not available yet: this version runs algorithms on this machine "
                "only (--engine local)"
            )

    def _check_slots(self) -> None:
        if not 0 <= self.slot_cpus < float("inf"):
            raise InvalidInput("--slot-cpus must be a number of processors, 0 or more")
        try:
            parse_allowed(self.network_allow)
        except ValueError as error:
            raise InvalidInput(f"--network-allow: {error}") from None
        try:
            parse_places(self.connector_allow)
        except ValueError as error:
            raise InvalidInput(f"--connector-allow: {error}") from None

    def _check_authoring(self) -> None:
        if self.scm_poll_s and not 1 <= self.scm_poll_s < float("inf"):
            raise InvalidInput("--scm-poll-s must be 0, or a number of seconds of 1 or more")
        if self.push_mib_max < 1:
            raise InvalidInput(f"--push-mib-max must be at least 1, not {self.push_mib_max}")
        if self.model_cache_mib < 0:
            raise InvalidInput(f"--model-cache-mib must be 0 or more, not {self.model_cache_mib}")
        if self.builds_max < 1:
            raise InvalidInput(f"--builds-max must be at least 1, not {self.builds_max}")
        if not 0 < self.build_timeout_s < float("inf"):
            raise InvalidInput("--build-timeout-s must be a number of seconds above 0")

    def _check_storage(self) -> None:
        for name in (row.name for row in fields(self) if row.name.startswith("account_")):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise InvalidInput(f"--{flag} must be 0 or more, not {getattr(self, name)}")
        for quota, most in LARGEST.items():
            name = f"account_{quota}_max"
            if not 1 <= getattr(self, name) <= most:
                flag = name.replace("_", "-")
                raise InvalidInput(f"--{flag} must be from 1 to {most}, not {getattr(self, name)}")
        if not 0 <= self.scrub_days < float("inf"):
            raise InvalidInput("--scrub-days must be a number of days, 0 or more")
        if self.storage != LOCAL_STORAGE:
            StorageUrl.parse(self.storage)

    def _check_identity_provider(self) -> None:
        if not self.oidc_issuer:
            for name in ("client_id", "audience", "jwks_url", "group_claim"):
                if getattr(self, f"oidc_{name}"):
                    raise InvalidInput(f"--oidc-{name.replace('_', '-')} needs --oidc-issuer")
        _ = self.identity_provider  # valid from birth, as everything here

    def _client_secret(self) -> str:
        if not self.oidc_client_secret_file:
            return ""
        path = Path(self.oidc_client_secret_file).expanduser()
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"--oidc-client-secret-file: {path} cannot be read ({type(error).__name__})"
            ) from None

    @property
    def proxies(self) -> Proxies:
        """The proxies in front of the server."""
        return Proxies(
            networks=parse_proxies(self.trusted_proxies), headers=ProxyHeaders(self.proxy_headers)
        )

    @property
    def identity_provider(self) -> ProviderSettings | None:
        """The identity provider whose users may sign in, with its secret; None if there is none."""
        if not self.oidc_issuer:
            return None
        return ProviderSettings(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            client_secret=self._client_secret(),
            audience=self.oidc_audience or self.oidc_client_id,
            jwks_url=self.oidc_jwks_url,
            scope=self.oidc_scope,
            rules=ClaimRules(
                username_claim=self.oidc_username_claim,
                email_claim=self.oidc_email_claim,
                group_claim=self.oidc_group_claim,
                admin_groups=tags_of(self.oidc_admin_groups),
                viewer_groups=tags_of(self.oidc_viewer_groups),
            ),
        )

    @property
    def bucket(self) -> StorageUrl | None:
        """Where in an object store files are kept; None if they are kept in the home directory."""
        return None if self.storage == LOCAL_STORAGE else StorageUrl.parse(self.storage)

    @property
    def quotas(self) -> Quotas:
        """What each account may use, unless an administrator says otherwise of one."""
        return Quotas(
            concurrent_calls=self.account_concurrent_calls_max,
            calls_per_minute=self.account_calls_per_minute_max or None,
            void_calls_waiting=self.account_void_calls_waiting_max,
            builds_waiting=self.account_builds_waiting_max,
            storage_bytes=self.account_bytes_max or None,
            storage_files=self.account_files_max or None,
            build_minutes_per_month=self.account_build_minutes_max or None,
            compute_seconds_per_month=self.account_compute_seconds_max or None,
        )

    @property
    def network_allowed(self) -> tuple[str, ...]:
        """The networks of `network_allow`, one by one."""
        return tuple(f"{network}" for network in parse_allowed(self.network_allow))

    @property
    def connectors_allowed(self) -> tuple[AllowedPlace, ...]:
        """The places of `connector_allow`, one by one."""
        return parse_places(self.connector_allow)

    @property
    def sandbox_wanted(self) -> Literal["auto", "full", "reduced", "none"]:
        """The level to ask the sandbox host for: `auto`, `full`, `reduced` or `none`."""
        return "none" if self.unsafe_no_sandbox else self.sandbox

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        """Return every option, in the order of the fields."""
        return options_of(cls)
