import { exitCodes, Failure } from '@heddle/control/failure';
import { type Listen, listenText, type PeerNode, type Place } from '@heddle/hubble';
import {
  type Access,
  collectorUrl,
  inClusterServer,
  KubernetesAccess,
  openAccess,
  RunningRelay,
  type Target,
  TokenAccess,
  type Traffic,
} from '@heddle/relay';
import { endSignal, placeOf, type TlsOptions, tlsOf } from './places.ts';

/** The options of `heddle relay`. */
export interface RelayOptions extends TlsOptions {
  readonly peer?: string;
  readonly node?: readonly string[];
  readonly listen: readonly string[];
  readonly peerTlsCa?: string;
  readonly peerTlsCert?: string;
  readonly peerTlsKey?: string;
  readonly peerTlsName?: string;
  readonly uiListen: string;
  readonly ui: boolean;
  readonly uiTokenFile?: string;
  readonly uiAuth?: 'kubernetes';
  readonly uiHost?: readonly string[];
  readonly metricsListen?: string;
  readonly cluster: string;
  readonly historyBytes: number;
  readonly historyFile?: string;
  readonly historyFileBytes: number;
  readonly exportFile?: string;
  readonly exportFileBytes: number;
  readonly exportFiles: number;
  readonly exportOtlp?: string;
}

const defaultPeer = 'unix:///run/heddle/hubble.sock';

/** `heddle relay`: serves the flows of all nodes by Hubble's API and as a web page until it is ended by a signal. */
export async function relay(options: RelayOptions): Promise<void> {
  const { version } = await import('@heddle/assets');
  const log = (message: string) => void process.stderr.write(`heddle relay: ${message}\n`);
  const tls = tlsOf(options);
  const listen = options.listen.map((text): Listen => {
    const place = placeOf('--listen', text);
    return 'unix' in place || !tls ? place : { ...place, tls };
  });
  const { nodes, peer } = observersOf(options);
  const ui = options.ui ? placeOf('--ui-listen', options.uiListen) : undefined;
  const uiTls = ui && !isLoopback(ui) && tls ? { ...tls, clientAuthority: undefined } : undefined;
  const accessOf = accessFor(options);
  const isOpen = options.uiTokenFile === undefined && options.uiAuth === undefined;
  if (ui && !isLoopback(ui) && isOpen) {
    log(
      `everyone who reaches ${listenText(ui)} can read all flows (--ui-token-file asks for a token)`,
    );
  }
  const metricsListen =
    options.metricsListen === undefined
      ? undefined
      : placeOf('--metrics-listen', options.metricsListen);
  if (metricsListen && 'unix' in metricsListen) {
    throw new Failure(exitCodes.usage, '--metrics-listen: metrics need HOST:PORT');
  }
  const signal = endSignal();
  await using running = await start({
    ...{ peer, nodes, peerTls: peerTlsOf(options), listen, metricsListen, log },
    ui: ui && { place: ui, tls: uiTls, accessOf, hosts: options.uiHost ?? [] },
    ...{ cluster: options.cluster, version: `heddle ${version()}` },
    historyBytes: options.historyBytes,
    ...exportsOf(options),
  });
  for (const each of listen) log(`serves ${listenText(each)}`);
  if (ui) log(`serves the page on ${uiTls ? 'https' : 'http'}://${listenText(ui)}/`);
  await signal;
  void running;
}

async function start(settings: Parameters<typeof RunningRelay.start>[0]): Promise<RunningRelay> {
  try {
    return await RunningRelay.start(settings);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure(exitCodes.failed, why, { cause });
  }
}

function observersOf({ peer, node = [], peerTlsCa, peerTlsName }: RelayOptions): {
  readonly nodes: PeerNode[];
  readonly peer: Target | undefined;
} {
  const nodes = node.map((text): PeerNode => {
    const [, name, address] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || address === undefined) {
      throw new Failure(exitCodes.usage, `--node: "${text}" is not NAME=ADDRESS`);
    }
    return { name, address, tlsServerName: serverName(placeOf('--node', address), peerTlsCa) };
  });
  const text = peer ?? (nodes.length === 0 ? defaultPeer : undefined);
  if (text === undefined) return { nodes, peer: undefined };
  const place = placeOf('--peer', text);
  const ownName = serverName(place, peerTlsCa);
  const tlsName = ownName === undefined ? undefined : (peerTlsName ?? ownName);
  return { nodes, peer: { place, tlsServerName: tlsName } };
}

/** An address that a user gives has TLS if there is an authority, and the certificate has the host's name. */
function serverName(place: Place, authority: string | undefined): string | undefined {
  return authority === undefined || 'unix' in place ? undefined : place.host;
}

function peerTlsOf({ peerTlsCa, peerTlsCert, peerTlsKey }: RelayOptions) {
  if ((peerTlsCert === undefined) !== (peerTlsKey === undefined)) {
    throw new Failure(
      exitCodes.usage,
      'TLS of peers needs both --peer-tls-cert and --peer-tls-key',
    );
  }
  return { authority: peerTlsCa, certificate: peerTlsCert, key: peerTlsKey };
}

function accessFor({ uiTokenFile, uiAuth }: RelayOptions): (traffic: Traffic) => Access {
  if (uiTokenFile !== undefined && uiAuth !== undefined) {
    throw new Failure(exitCodes.usage, '--ui-token-file and --ui-auth exclude each other');
  }
  try {
    if (uiTokenFile !== undefined) {
      const access = new TokenAccess(uiTokenFile);
      return () => access;
    }
    if (uiAuth === undefined) return () => openAccess;
    const server = inClusterServer(process.env);
    return (traffic) => new KubernetesAccess(server, () => namespacesOf(traffic));
  } catch (cause) {
    throw new Failure(exitCodes.failed, (cause as Error).message, { cause });
  }
}

function* namespacesOf(traffic: Traffic): Generator<string> {
  for (const { namespace } of traffic.ends.workloads) if (namespace !== '') yield namespace;
}

function exportsOf(options: RelayOptions) {
  const { historyFile, historyFileBytes, exportFile, exportFileBytes, exportFiles, exportOtlp } =
    options;
  try {
    if (exportOtlp !== undefined) collectorUrl(exportOtlp);
  } catch (cause) {
    throw new Failure(exitCodes.usage, (cause as Error).message, { cause });
  }
  return {
    historyFile:
      historyFile === undefined ? undefined : { path: historyFile, bytes: historyFileBytes },
    exportFile:
      exportFile === undefined
        ? undefined
        : { path: exportFile, bytesMax: exportFileBytes, filesMax: exportFiles },
    exportOtlp,
  };
}

function isLoopback(place: Place): boolean {
  return 'unix' in place || /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(place.host);
}
