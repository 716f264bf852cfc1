import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { encodeUtf8, type Platform, type RunOptions, type RunResult } from '@heddle/sys';
import { KubeconfigError } from './errors.ts';
import { type ExecCredentials, type ExecOptions, ExecPlugin } from './exec-plugin.ts';

const v1 = 'client.authentication.k8s.io/v1';

/** A plug-in whose command is controlled by the test. */
class World {
  readonly time = new VirtualTime();
  readonly runs: RunOptions[] = [];
  killed = 0;
  readonly plugin: ExecPlugin;
  #onExit: ((result: RunResult) => void) | undefined;

  constructor(options: Partial<ExecOptions> = {}) {
    const platform = Object.assign(this.time, {
      run: (run: RunOptions, onExit: (result: RunResult) => void): Disposable => {
        this.runs.push(run);
        this.#onExit = onExit;
        return {
          [Symbol.dispose]: () => {
            if (this.#onExit === onExit) this.killed++;
            this.#onExit = undefined;
          },
        };
      },
    }) as unknown as Platform;
    this.plugin = new ExecPlugin(
      platform,
      { PATH: '/bin', SHARED: 'outer' },
      {
        command: 'login',
        args: ['--quiet'],
        env: { SHARED: 'inner' },
        apiVersion: v1,
        origin: 'user me in /config',
        ...options,
      },
    );
  }

  /** The command ends. */
  exit(status: unknown, rest: Partial<RunResult> = {}): void {
    const onExit = this.#onExit!;
    this.#onExit = undefined;
    const answer = { apiVersion: v1, kind: 'ExecCredential', status };
    const stdout = encodeUtf8(typeof status === 'string' ? status : JSON.stringify(answer));
    onExit({ exitCode: 0, stdout, stderr: new Uint8Array(), ...rest });
  }

  get(isRefused = false): { result?: ExecCredentials | KubeconfigError } & Disposable {
    const pending: { result?: ExecCredentials | KubeconfigError } & Disposable = {
      [Symbol.dispose]: () => asked[Symbol.dispose](),
    };
    const asked = this.plugin.get(isRefused, (result) => {
      assert.equal(pending.result, undefined, 'the result is reported once');
      pending.result = result;
    });
    return pending;
  }

  /** Returns the message when the command ends so. */
  failure(status: unknown, rest: Partial<RunResult> = {}): string {
    const pending = this.get();
    this.exit(status, rest);
    assert.ok(pending.result instanceof KubeconfigError, JSON.stringify(pending.result));
    return pending.result.message;
  }
}

test('a credential command gets its arguments, environment and the cluster', () => {
  const world = new World({ cluster: { server: 'https://a', config: { audience: 'x' } } });
  world.get();
  const [{ command, args, env }] = world.runs as [RunOptions];
  const { KUBERNETES_EXEC_INFO: info, ...rest } = env;
  assert.deepEqual(
    [command, args, rest],
    ['login', ['--quiet'], { PATH: '/bin', SHARED: 'inner' }],
  );
  assert.deepEqual(JSON.parse(info!), {
    apiVersion: v1,
    kind: 'ExecCredential',
    spec: { cluster: { server: 'https://a', config: { audience: 'x' } }, interactive: false },
  });
});

test('one run of a credential command serves all requests until its credentials expire', () => {
  const world = new World();
  const [first, second] = [world.get(), world.get()];
  assert.equal(world.runs.length, 1);
  const expirationTimestamp = '1970-01-01T01:00:00Z';
  world.exit({ token: 'abc', expirationTimestamp });
  assert.deepEqual([first.result, second.result], [{ token: 'abc' }, { token: 'abc' }]);
  assert.deepEqual(world.get().result, { token: 'abc' });
  assert.equal(world.runs.length, 1);
  world.time.pass(3_600_000);
  const later = world.get();
  assert.equal(later.result, undefined);
  world.exit({ clientCertificateData: 'CERT', clientKeyData: 'KEY', expirationTimestamp: null });
  assert.deepEqual(later.result, { cert: 'CERT', key: 'KEY' });
  world.time.pass(1e12);
  assert.deepEqual(world.get().result, { cert: 'CERT', key: 'KEY' });
  assert.deepEqual([world.runs.length, world.time.timersLeft], [2, 0]);
});

test('refused credentials are not returned again, and a failure is not kept', () => {
  const world = new World();
  world.get();
  world.exit({ token: 'old' });
  const renewed = world.get(true);
  world.exit({ token: 'new' });
  assert.deepEqual(renewed.result, { token: 'new' });
  const failed = world.get(true);
  world.exit('', { exitCode: 1 });
  assert.ok(failed.result instanceof KubeconfigError);
  const again = world.get();
  world.exit({ token: 'newer' });
  assert.deepEqual(again.result, { token: 'newer' });
});

test('a credential command is killed when no request waits, and after its time limit', () => {
  const world = new World();
  const [first, second] = [world.get(), world.get()];
  first[Symbol.dispose]();
  assert.equal(world.killed, 0);
  second[Symbol.dispose]();
  assert.deepEqual([world.killed, world.time.timersLeft], [1, 0]);
  const slow = world.get();
  world.time.pass(60_000);
  assert.equal(world.killed, 2);
  assert.match(String(slow.result), /it took longer than 60 s/);
  assert.deepEqual([first.result, second.result], [undefined, undefined]);
});

test('an error of a credential command has the reason and the installHint', () => {
  const env = { PASSWORD: 'inner-secret' };
  const world = new World({ installHint: 'apt install login\n', env });
  const said = 'get credentials of user me in /config from login: ';
  const no = new Uint8Array();
  for (const [status, rest, expected] of [
    [
      '',
      { exitCode: 3, stderr: encodeUtf8('warning\nno session\n') },
      'exit code 3: no session (apt install login)',
    ],
    [
      '',
      { error: new Error('run login: no such command'), stderr: no },
      'run login: no such command (apt install login)',
    ],
    ['hello', {}, 'it wrote no JSON'],
    ['{"kind":"Pod"}', {}, /it wrote no ExecCredential: apiVersion /],
    [undefined, {}, /it wrote no ExecCredential: status /],
    [{ token: 7 }, {}, 'it wrote no ExecCredential: status.token must be string'],
    [
      '',
      {
        exitCode: 1,
        stderr: encodeUtf8(
          'POST https://me:pass/word@login.example/x with inner-secret and Bearer abc.def: no',
        ),
      },
      'exit code 1: POST https://***@login.example/x with *** and Bearer *** no (apt install login)',
    ],
    [{}, {}, 'it gave no token and no certificate'],
    [{ clientKeyData: 'x' }, {}, 'it gave only one of clientCertificateData and clientKeyData'],
    [{ token: 'a\r\nb' }, {}, 'its token has characters that no token has'],
    [{ token: 'a', expirationTimestamp: 'soon' }, {}, 'its expirationTimestamp soon is no time'],
    [
      '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{}}',
      {},
      `it returns client.authentication.k8s.io/v1beta1, the kubeconfig ${v1}`,
    ],
  ] as const) {
    const message = world.failure(status, rest);
    if (typeof expected === 'string') assert.equal(message, said + expected);
    else assert.match(message, expected);
  }
});

test('unknown versions of the credential interface are refused', () => {
  assert.throws(
    () => new World({ apiVersion: 'client.authentication.k8s.io/v1alpha1' }),
    (error) =>
      error instanceof KubeconfigError &&
      /v1alpha1 is not supported \(use .*v1 or/.test(error.message),
  );
  const world = new World({ apiVersion: 'client.authentication.k8s.io/v1beta1' });
  world.get();
  assert.match(
    String(world.runs[0]!.env.KUBERNETES_EXEC_INFO),
    /"apiVersion":"client.authentication.k8s.io\/v1beta1"/,
  );
});
