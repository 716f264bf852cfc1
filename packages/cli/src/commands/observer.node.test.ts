import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type ObserverOptions, observer } from './observer.ts';

const tls = { tlsCert: 'tls.crt', tlsKey: 'tls.key' };
const address = 'unix:///PATH, HOST:PORT or :PORT';
const refused: readonly (readonly [Partial<ObserverOptions>, string])[] = [
  [{ listen: ['/run/hubble.sock'] }, `--listen: "/run/hubble.sock" is no address (${address})`],
  [{ listen: ['4244'] }, `--listen: "4244" is no address (${address})`],
  [{ listen: [':65536'] }, `--listen: ":65536" is no address (${address})`],
  [{ listen: ['fd00::1:4244'] }, `--listen: "fd00::1:4244" is no address (${address})`],
  [{ listen: [':4244', 'host:'] }, `--listen: "host:" is no address (${address})`],
  [{ metricsListen: 'unix:///metrics.sock' }, '--metrics-listen: metrics need HOST:PORT'],
  [{ address: '192.0.2.1' }, `--address: "192.0.2.1" is no address (${address})`],
  [{ address: 'unix:///run/hubble.sock' }, '--address: relays need HOST:PORT'],
  [{ listen: [':4244'], tlsCert: 'tls.crt' }, 'TLS needs both --tls-cert and --tls-key'],
  [{ listen: [':4244'], tlsClientCa: 'ca.crt' }, 'TLS needs both --tls-cert and --tls-key'],
  [tls, '--tls-cert: TLS needs --listen HOST:PORT or :PORT'],
];

describe('heddle observer refuses options that it cannot use before it asks the agent', () => {
  for (const [options, message] of refused) {
    it(JSON.stringify(options), async () => {
      const complete = {
        ...{
          socket: '/nowhere/agent.sock',
          bpffs: '/nowhere',
          cluster: 'default',
          address: '',
          wait: 0,
        },
        ...{ listen: ['unix:///nowhere/hubble.sock'], ...options },
      };
      await assert.rejects(observer(complete), new Failure(exitCodes.usage, message));
    });
  }
});
