import { decodeUtf8, encodeUtf8, isMissing, type Platform, readFile, SysError } from '@heddle/sys';
import { withoutCredentials } from '@heddle/sys/internal';
import type { ClusterAccess, Credentials } from './access.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { CredentialFiles, isSame, type Material, type Materials } from './credential-files.ts';
import { KubeconfigError } from './errors.ts';
import { ExecPlugin } from './exec-plugin.ts';
import {
  type ClusterEntry,
  type FromFile,
  type Kubeconfig,
  mergeKubeconfigs,
  parseKubeconfig,
  type UserEntry,
} from './kubeconfig-file.ts';
import { type Environment, environmentProxy, type ProxyServer, parseProxy } from './proxy.ts';
import { parseServer, type Server } from './server.ts';

/** The kubeconfig and the context to use. */
export interface KubeconfigChoice {
  /** The file. The default is those that KUBECONFIG names, merged, or ~/.kube/config. */
  readonly path?: string;
  /** The context. The default is the current one. */
  readonly context?: string;
}

/**
 * Returns the access of a kubeconfig, read as kubectl reads it. Files that it refers to are read again at each
 * use, the kubeconfig itself is not. Throws KubeconfigError with the file, the field and a remedy.
 */
export function readKubeconfig(
  platform: Platform,
  environment: Environment,
  choice: KubeconfigChoice = {},
): ClusterAccess {
  const { config, place } = loadFiles(platform, environment, choice.path);
  const { name, cluster, user } = choose(config, choice.context, place);
  const origin = `${cluster.file} (context ${name})`;
  const server = readServer(cluster);
  const { tls, insecureSkipVerify } = readClusterTls(cluster);
  const fixedProxy = readProxy(cluster);
  const files = new CredentialFiles(platform, { ...tls, ...(user && readUser(user)) });
  const plugin = user && execPlugin(platform, environment, cluster, user, tls.ca);
  return {
    origin,
    servers: [server],
    insecureSkipVerify,
    warnings: [
      ...warningsOf(server, insecureSkipVerify, origin),
      ...(user && isPassedOver(user.entry)
        ? [
            `${origin}: user ${user.name}: username and password are not used, the client certificate is`,
          ]
        : []),
    ],
    proxyFor: (to) => fixedProxy ?? environmentProxy(environment, to),
    credentials: plugin ? withPlugin(files, plugin) : (_rejected, onReady) => files.give(onReady),
  };
}

function loadFiles(
  platform: Platform,
  environment: Environment,
  path: string | undefined,
): { config: Kubeconfig; place: string } {
  const listed = environment.KUBECONFIG?.split(':').filter((each) => each !== '') ?? [];
  const home = environment.HOME ? [`${environment.HOME}/.kube/config`] : [];
  const files = path !== undefined ? [path] : listed.length > 0 ? listed : home;
  const found: Kubeconfig[] = [];
  for (const file of files) {
    try {
      found.push(parseKubeconfig(decodeUtf8(readFile(platform, file)), file));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (isMissing(error)) continue;
      throw new KubeconfigError(`read kubeconfig: ${error.message}`, { cause: error });
    }
  }
  const place = files.join(', ');
  if (found.length === 0) {
    const problem = files.length === 0 ? 'HOME is not set' : `${place}: no such file`;
    throw new KubeconfigError(
      `read kubeconfig: ${problem} (name one with --kubeconfig or in KUBECONFIG)`,
    );
  }
  return { config: mergeKubeconfigs(found), place };
}

function choose(config: Kubeconfig, wanted: string | undefined, place: string) {
  const fail = (problem: string) => new KubeconfigError(`read kubeconfig ${place}: ${problem}`);
  const names = [...config.contexts.keys()].join(', ') || 'none';
  const name = wanted ?? config.currentContext;
  if (name === undefined) {
    throw fail(`current-context is not set (choose one with --context: ${names})`);
  }
  const context = config.contexts.get(name)?.entry;
  if (!context) throw fail(`there is no context ${name} (there is: ${names})`);
  const cluster = config.clusters.get(context.cluster ?? '');
  if (!cluster) {
    const all = [...config.clusters.keys()].join(', ') || 'none';
    throw fail(
      `context ${name} is for the cluster ${context.cluster}, which is missing (there is: ${all})`,
    );
  }
  const user = context.user === undefined ? undefined : config.users.get(context.user);
  if (context.user !== undefined && !user) {
    const all = [...config.users.keys()].join(', ') || 'none';
    throw fail(
      `context ${name} is for the user ${context.user}, which is missing (there is: ${all})`,
    );
  }
  return {
    name,
    cluster: { ...cluster, name: context.cluster! },
    user: user && { ...user, name: context.user! },
  };
}

type Named<T> = FromFile<T> & { readonly name: string };

function failIn(
  { file, name }: Named<unknown>,
  kind: 'cluster' | 'user',
  problem: string,
): KubeconfigError {
  return new KubeconfigError(`read kubeconfig ${file}: ${kind} ${name}: ${problem}`);
}

function readServer(cluster: Named<ClusterEntry>): Server {
  const { server: url, 'tls-server-name': serverName } = cluster.entry;
  if (url === undefined) throw failIn(cluster, 'cluster', 'server is missing');
  const server = parseServer(url);
  if (typeof server === 'string') {
    throw failIn(cluster, 'cluster', `server ${withoutCredentials(url)}: ${server}`);
  }
  return serverName === undefined ? server : { ...server, serverName };
}

function readClusterTls(cluster: Named<ClusterEntry>): {
  tls: Materials;
  insecureSkipVerify: boolean;
} {
  const ca = material(cluster, 'cluster', cluster.entry, 'certificate-authority');
  const insecureSkipVerify = cluster.entry['insecure-skip-tls-verify'];
  if (ca && insecureSkipVerify) {
    throw failIn(
      cluster,
      'cluster',
      'insecure-skip-tls-verify and certificate-authority exclude each other (remove one of them)',
    );
  }
  return { tls: ca ? { ca } : {}, insecureSkipVerify };
}

function readProxy(cluster: Named<ClusterEntry>): ProxyServer | undefined {
  const url = cluster.entry['proxy-url'];
  if (url === undefined) return undefined;
  const proxy = parseProxy(url);
  // The message does not have the URL, which may have a password.
  if (typeof proxy === 'string') throw failIn(cluster, 'cluster', `proxy-url: ${proxy}`);
  return proxy;
}

function readUser(user: Named<UserEntry>): Materials {
  const { entry, file } = user;
  const advice = 'use a token, a client certificate or exec';
  if (isPassedOver(entry)) return readCertificate(user);
  for (const [field, since] of [
    ['username', 'Kubernetes 1.19 removed passwords'],
    ['auth-provider', 'Kubernetes 1.26 removed it'],
    ['as', 'heddle does not impersonate users'],
  ] as const) {
    if (entry[field]) throw failIn(user, 'user', `${field} is not supported: ${since} (${advice})`);
  }
  const token: Material | undefined =
    entry.tokenFile !== undefined
      ? { file: resolve(file, entry.tokenFile) }
      : entry.token !== undefined
        ? { text: entry.token }
        : undefined;
  return { ...readCertificate(user), ...(token && { token }) };
}

/**
 * Returns true if there is a user name beside a client certificate. As in client-go the certificate is used, and the
 * API server ignores a password. (With a token, client-go refuses a user name.)
 */
function isPassedOver({ username, token, tokenFile, exec, ...entry }: UserEntry): boolean {
  const hasCertificate = entry['client-certificate'] ?? entry['client-certificate-data'];
  const others = [token, tokenFile, exec, entry['auth-provider'], entry.as];
  return !!username && hasCertificate !== undefined && !others.some((each) => each);
}

function readCertificate(user: Named<UserEntry>): Materials {
  const cert = material(user, 'user', user.entry, 'client-certificate');
  const key = material(user, 'user', user.entry, 'client-key');
  if (!cert !== !key) {
    throw failIn(
      user,
      'user',
      'client-certificate and client-key need each other (one is missing)',
    );
  }
  return cert && key ? { cert, key } : {};
}

/** Returns the PEM in the file at `field`, or that in `field`-data in base64, which has precedence. */
function material<const F extends string>(
  from: Named<unknown>,
  kind: 'cluster' | 'user',
  entry: { readonly [name in F | `${F}-data`]?: string | undefined },
  field: F,
): Material | undefined {
  const data = entry[`${field}-data`];
  const path = entry[field];
  if (data === undefined)
    return path === undefined ? undefined : { file: resolve(from.file, path) };
  const bytes = decodeBase64(data);
  const text = bytes && decodeUtf8(bytes);
  if (!text?.includes('-----BEGIN ')) {
    throw failIn(from, kind, `${field}-data is no PEM in base64`);
  }
  return { text };
}

/** Resolves a path of a kubeconfig. Relative ones start at its folder. */
function resolve(kubeconfig: string, path: string): string {
  return path.startsWith('/') ? path : kubeconfig.replace(/[^/]*$/, '') + path;
}

function execPlugin(
  platform: Platform,
  environment: Environment,
  cluster: Named<ClusterEntry>,
  user: Named<UserEntry>,
  ca: Material | undefined,
): ExecPlugin | undefined {
  const { exec, token, tokenFile } = user.entry;
  // As in kubectl, the command is not used when there is a token.
  if (!exec || token !== undefined || tokenFile !== undefined) return undefined;
  const { command, installHint } = exec;
  if (exec.interactiveMode === 'Always') {
    throw failIn(
      user,
      'user',
      `exec.interactiveMode Always: ${command} needs a terminal, an agent has none`,
    );
  }
  const origin = `user ${user.name} in ${user.file}`;
  return new ExecPlugin(platform, environment, {
    command: command.includes('/') ? resolve(user.file, command) : command,
    args: exec.args,
    env: Object.fromEntries(exec.env.map(({ name, value }) => [name, value])),
    apiVersion: exec.apiVersion,
    ...(installHint !== undefined && { installHint }),
    ...(exec.provideClusterInfo && { cluster: clusterInfo(platform, cluster, ca) }),
    origin,
  });
}

const pluginExtension = 'client.authentication.k8s.io/exec';

/** Returns the cluster's fields for a command, with certificates. */
function clusterInfo(
  platform: Platform,
  { entry }: Named<ClusterEntry>,
  ca: Material | undefined,
): Record<string, unknown> {
  const own = new CredentialFiles(platform, ca ? { ca } : {}).read();
  const extension = entry.extensions.find(({ name }) => name === pluginExtension);
  return {
    server: entry.server,
    'tls-server-name': entry['tls-server-name'],
    'insecure-skip-tls-verify': entry['insecure-skip-tls-verify'] || undefined,
    'certificate-authority-data': own.ca && encodeBase64(encodeUtf8(own.ca)),
    'proxy-url': entry['proxy-url'],
    config: extension?.extension,
  };
}

/** Returns credentials with certificates and CA from files, and the rest from a command. */
function withPlugin(files: CredentialFiles, plugin: ExecPlugin): ClusterAccess['credentials'] {
  let last: Credentials | undefined;
  return (rejected, onReady) =>
    plugin.get(rejected !== undefined && rejected === last, (given) => {
      if (given instanceof KubeconfigError) {
        onReady(given);
        return;
      }
      files.give((own) => {
        if (own instanceof Error) {
          onReady(own);
          return;
        }
        const all = { ...own, ...given };
        if (!last || !isSame(last, all)) last = all;
        onReady(last);
      });
    });
}

function warningsOf(server: Server, insecureSkipVerify: boolean, origin: string): string[] {
  const risk = 'others on the path can read the credentials and forge responses';
  if (insecureSkipVerify) {
    return [
      `${origin}: insecure-skip-tls-verify: the API server's certificate is not verified; ${risk}`,
    ];
  }
  const isLocal = /^(localhost|127\..*|::1)$/.test(server.host);
  return server.isTls || isLocal
    ? []
    : [`${origin}: the API server is reached without TLS; ${risk}`];
}
