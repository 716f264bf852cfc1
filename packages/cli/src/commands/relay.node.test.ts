import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ExitCode, exitCodes, Failure } from '@heddle/control/failure';
import { type RelayOptions, relay } from './relay.ts';

const refused: readonly (readonly [Partial<RelayOptions>, ExitCode, string])[] = [
  [
    { listen: ['4245'] },
    exitCodes.usage,
    '--listen: "4245" is no address (unix:///PATH, HOST:PORT or :PORT)',
  ],
  [{ node: ['n1'] }, exitCodes.usage, '--node: "n1" is not NAME=ADDRESS'],
  [
    { node: ['n1=host'] },
    exitCodes.usage,
    '--node: "host" is no address (unix:///PATH, HOST:PORT or :PORT)',
  ],
  [{ tlsCert: 'tls.crt' }, exitCodes.usage, 'TLS needs both --tls-cert and --tls-key'],
  [
    { peerTlsKey: 'tls.key' },
    exitCodes.usage,
    'TLS of peers needs both --peer-tls-cert and --peer-tls-key',
  ],
  [
    { metricsListen: 'unix:///metrics.sock' },
    exitCodes.usage,
    '--metrics-listen: metrics need HOST:PORT',
  ],
  [
    { uiTokenFile: 'token', uiAuth: 'kubernetes' },
    exitCodes.usage,
    '--ui-token-file and --ui-auth exclude each other',
  ],
  [
    { exportOtlp: 'collector' },
    exitCodes.usage,
    'export by OTLP: "collector" is no URL, such as http://collector:4318',
  ],
  [
    { uiTokenFile: '/nowhere/token' },
    exitCodes.failed,
    "read token file /nowhere/token: ENOENT: no such file or directory, open '/nowhere/token'",
  ],
];

describe('heddle relay refuses options that it cannot use before it listens', () => {
  for (const [options, code, message] of refused) {
    it(JSON.stringify(options), async () => {
      const complete = {
        ...{ listen: ['unix:///nowhere/relay.sock'], uiListen: '127.0.0.1:0', ui: true },
        ...{ cluster: 'default', historyBytes: 1 << 20 },
        ...{ historyFileBytes: 1 << 20, exportFileBytes: 1 << 20, exportFiles: 2, ...options },
      };
      await assert.rejects(relay(complete), new Failure(code, message));
    });
  }
});
