import { setTimeout } from 'node:timers/promises';
import { exitCodes, Failure } from '@heddle/control/failure';
import {
  type Listen,
  listenText,
  MetricsError,
  type ObserverSettings,
  type Place,
  parsePlace,
  RunningObserver,
} from '@heddle/hubble';

/** The options of `heddle observer`. */
export interface ObserverOptions {
  readonly socket: string;
  readonly bpffs: string;
  readonly listen: readonly string[];
  readonly address: string;
  /** Seconds. */
  readonly wait: number;
  readonly cluster: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly metrics?: readonly string[];
  readonly metricsListen?: string;
}

/** `heddle observer`: serves the flows of this node by Hubble's API until it is ended by a signal. */
export async function observer(options: ObserverOptions): Promise<void> {
  const { version } = await import('@heddle/assets');
  const tls = tlsOf(options);
  const listen = options.listen.map((text): Listen => {
    const place = placeOf('--listen', text);
    return 'unix' in place || !tls ? place : { ...place, tls };
  });
  if (tls && listen.every((place) => 'unix' in place)) {
    throw new Failure(exitCodes.usage, '--tls-cert: TLS needs --listen HOST:PORT or :PORT');
  }
  if (options.address !== '' && 'unix' in placeOf('--address', options.address)) {
    throw new Failure(exitCodes.usage, '--address: relays need HOST:PORT');
  }
  const metricsListen = options.metricsListen;
  const place =
    metricsListen === undefined ? undefined : placeOf('--metrics-listen', metricsListen);
  if (place && 'unix' in place) {
    throw new Failure(exitCodes.usage, '--metrics-listen: metrics need HOST:PORT');
  }
  const signal = new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, resolve);
  });
  await using running = await start(options.wait, {
    ...{ socket: options.socket, bpffs: options.bpffs, address: options.address, listen },
    ...{ cluster: options.cluster, version: `heddle ${version()}`, metrics: options.metrics ?? [] },
    metricsListen: place,
    log: (message) => process.stderr.write(`heddle observer: ${message}\n`),
  });
  for (const each of listen) process.stderr.write(`heddle observer: serves ${listenText(each)}\n`);
  await signal;
  void running;
}

/** Starts an observer. While no agent answers, it tries again for `wait` seconds. */
async function start(wait: number, settings: ObserverSettings): Promise<RunningObserver> {
  const end = Date.now() + wait * 1000;
  for (;;) {
    try {
      return await RunningObserver.start(settings);
    } catch (error) {
      if (error instanceof MetricsError) throw new Failure(exitCodes.usage, error.message);
      const isUnreachable = error instanceof Failure && error.exitCode === exitCodes.unreachable;
      if (!isUnreachable || Date.now() >= end) throw error;
      await setTimeout(500);
    }
  }
}

function tlsOf({ tlsCert, tlsKey, tlsClientCa }: ObserverOptions) {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Failure(exitCodes.usage, 'TLS needs both --tls-cert and --tls-key');
  }
  return { certificate: tlsCert, key: tlsKey, clientAuthority: tlsClientCa };
}

function placeOf(flag: string, text: string): Place {
  const place = parsePlace(text);
  if (!place) {
    throw new Failure(
      exitCodes.usage,
      `${flag}: "${text}" is no address (unix:///PATH, HOST:PORT or :PORT)`,
    );
  }
  return place;
}
