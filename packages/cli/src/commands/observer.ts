import { setTimeout } from 'node:timers/promises';
import { exitCodes, Failure } from '@heddle/control/failure';
import {
  type Listen,
  listenText,
  MetricsError,
  type ObserverSettings,
  RunningObserver,
} from '@heddle/hubble';
import { endSignal, placeOf, type TlsOptions, tlsOf } from './places.ts';

/** The options of `heddle observer`. */
export interface ObserverOptions extends TlsOptions {
  readonly socket: string;
  readonly bpffs: string;
  readonly listen: readonly string[];
  readonly address: string;
  /** Seconds. */
  readonly wait: number;
  readonly cluster: string;
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
  const signal = endSignal();
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
