"""Find the API server: kubeconfig, or the service account of the pod we run in."""

import os
from dataclasses import replace
from pathlib import Path

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config
from kubernetes.aio.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
)
from kubernetes.aio.config.kube_config import (
    ConfigNode,
    KubeConfigLoader,
    KubeConfigMerger,
    _cleanup_temp_files,
)

from weir_kube.access import (
    Access,
    Credentials,
    ExecCredentials,
    StaticCredentials,
    TokenFile,
)
from weir_kube.api import Api
from weir_kube.errors import ConfigError

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

# What the loader stumbles over in a kubeconfig of another shape.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


async def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    user_agent: str = "weir",
    *,
    connections: int | None = None,
) -> Api:
    """Return an API client; nothing is sent yet. Use it as an async context manager.

    The first of these that is there is taken: the path given, ``$KUBECONFIG``, the pod's service
    account, ``~/.kube/config``. Proxies named in the environment are not used; ``proxy-url`` of a
    kubeconfig is.

    Args:
        kubeconfig: path of one.
        context: of the kubeconfig; None: its current one.
        user_agent: what the API server notes of us.
        connections: for requests at once, watches left out; further ones wait. None: the default.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    access = await load_access(kubeconfig, context, user_agent)
    return Api(access if connections is None else replace(access, connections=connections))


async def load_access(
    kubeconfig: str | None = None, context: str | None = None, user_agent: str = "weir"
) -> Access:
    """Return how the API server is reached; see ``connect``.

    Raises:
        ConfigError: there is no configuration, or it cannot be used.
    """
    paths = kubeconfig or os.environ.get("KUBECONFIG")
    if not paths:
        if context is None and os.environ.get(SERVICE_HOST_ENV_NAME):
            return _in_cluster(user_agent)
        paths = str(Path.home() / ".kube" / "config")
    if not _any_file(paths):
        raise ConfigError(f"no kubeconfig at {paths}")
    try:
        return await _from_kubeconfig(paths, context, user_agent)
    except (ConfigException, OSError, yaml.YAMLError, *_MALFORMED) as exc:
        raise ConfigError(f"cannot use kubeconfig {paths}: {exc}") from exc


def _any_file(paths: str) -> bool:
    return any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path)


async def _from_kubeconfig(paths: str, context: str | None, user_agent: str) -> Access:
    config = KubeConfigMerger(paths).config
    loader = KubeConfigLoader(config_dict=config, active_context=context, config_base_path=None)
    configuration = Configuration()
    try:
        await loader.load_and_set(configuration)
        active = loader.current_context["context"]
        return _access(
            configuration,
            _credentials(config, active.get("user"), loader, configuration),
            namespace=active.get("namespace") or "default",
            user_agent=user_agent,
        )
    finally:
        # The library keeps keys that stood in the kubeconfig in files of /tmp until a clean exit.
        _cleanup_temp_files()


def _credentials(
    config: ConfigNode, user_name: str | None, loader: KubeConfigLoader, loaded: Configuration
) -> Credentials:
    value = loaded.api_key.get("BearerToken")
    entry = config["users"].get_with_name(user_name, safe=True) if user_name else None
    if entry is None:
        return StaticCredentials(None)
    user = entry["user"]
    token_file = user.safe_get("tokenFile")
    if token_file:  # wins over `token`, as in kubectl
        return TokenFile(Path(user.path or "").parent.absolute() / token_file)
    if user.safe_get("exec"):

        async def run() -> str | None:
            await loader.load_from_exec_plugin()
            return getattr(loader, "token", None)

        if value is None and loaded.cert_file is None:
            raise ConfigError(f"the exec plugin of user {user_name} gave no credentials")
        return ExecCredentials(value, run)
    return StaticCredentials(value.strip() if value else None)


def _in_cluster(user_agent: str) -> Access:
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration, try_refresh_token=False)
        namespace = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as exc:
        raise ConfigError(f"cannot use the pod's service account: {exc}") from exc
    return _access(
        configuration,
        TokenFile(Path(SERVICE_TOKEN_FILENAME)),
        namespace=namespace,
        user_agent=user_agent,
    )


def _access(
    configuration: Configuration, credentials: Credentials, *, namespace: str, user_agent: str
) -> Access:
    server = configuration.host.rstrip("/")
    secure = server.startswith("https:")
    return Access(
        server=server,
        credentials=credentials,
        ssl_context=RESTClientObject(configuration).ssl_context if secure else None,
        tls_server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        namespace=namespace,
        user_agent=user_agent,
    )
