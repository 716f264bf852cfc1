import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import { type ClusterAccess, type Credentials, withApiServers } from './access.ts';
import { KubeconfigError, type KubeError } from './errors.ts';
import { inClusterAccess } from './in-cluster.ts';
import { readKubeconfig } from './kubeconfig.ts';
import { formatServer } from './server.ts';

const platform = nodePlatform(() => {});
const { cert: pem } = new CertificateAuthority();
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Returns a temporary folder with these files. */
function folderWith(t: TestContext, files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(`${tmpdir()}/heddle-kube-`);
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(`${folder}/${name}`), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    writeFileSync(`${folder}/${name}`, text);
  }
  return folder;
}

/** Returns a kubeconfig with one context. */
function config(user: object, cluster: object = {}): object {
  return {
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.5:6443', ...cluster } }],
    users: [{ name: 'u', user }],
  };
}

function credentials(
  access: ClusterAccess,
  rejected?: Credentials,
): Promise<Credentials | KubeError> {
  return new Promise((resolve) => access.credentials(rejected, resolve));
}

async function good(access: ClusterAccess, rejected?: Credentials): Promise<Credentials> {
  const result = await credentials(access, rejected);
  if (result instanceof Error) throw result;
  return result;
}

test('readKubeconfig reads certificates and token from data or files', async (t) => {
  const folder = folderWith(t, {
    data: config(
      { 'client-certificate-data': base64(pem), 'client-key-data': base64(pem), token: 'abc' },
      {
        'certificate-authority-data': base64(pem),
        'tls-server-name': 'kubernetes',
        'proxy-url': 'http://p:1',
      },
    ),
    files: config(
      {
        'client-certificate': 'pki/cert',
        'client-key': 'pki/key',
        tokenFile: 'token',
        token: 'unused',
      },
      { 'certificate-authority': 'pki/ca' },
    ),
    'pki/ca': 'CA',
    'pki/cert': 'CERT',
    'pki/key': 'KEY',
    token: ' from-file\n',
  });
  const data = readKubeconfig(platform, {}, { path: `${folder}/data` });
  assert.equal(data.origin, `${folder}/data (context x)`);
  assert.deepEqual(data.servers, [
    { host: '10.0.0.5', port: 6443, isTls: true, path: '', serverName: 'kubernetes' },
  ]);
  assert.equal(data.proxyFor(data.servers[0]!)?.server.host, 'p');
  assert.deepEqual([data.insecureSkipVerify, data.warnings], [false, []]);
  assert.deepEqual(await good(data), { ca: pem, cert: pem, key: pem, token: 'abc' });
  assert.equal(await good(data), await good(data));

  const files = readKubeconfig(platform, { HTTPS_PROXY: 'q:2' }, { path: `${folder}/files` });
  assert.equal(files.proxyFor(files.servers[0]!)?.server.host, 'q');
  assert.deepEqual(await good(files), { ca: 'CA', cert: 'CERT', key: 'KEY', token: 'from-file' });
});

test('changed files of credentials are read again, unchanged ones keep the same object', async (t) => {
  const folder = folderWith(t, {
    config: config({ tokenFile: 'token' }, { 'certificate-authority': 'ca' }),
    token: 'one',
    ca: 'CA',
  });
  const access = readKubeconfig(platform, {}, { path: `${folder}/config` });
  const first = await good(access);
  writeFileSync(`${folder}/token`, 'one\n');
  assert.equal(await good(access, first), first);
  writeFileSync(`${folder}/token`, 'two');
  const second = await good(access);
  assert.deepEqual(second, { ca: 'CA', token: 'two' });
  writeFileSync(`${folder}/ca`, 'CA2');
  assert.deepEqual(await good(access), { ca: 'CA2', token: 'two' });
  for (const [content, problem] of [
    ['', /token is empty$/],
    ['a b', /token has characters that no token has$/],
  ] as const) {
    writeFileSync(`${folder}/token`, content);
    assert.match(String(await credentials(access)), problem);
  }
  rmSync(`${folder}/token`);
  assert.match(
    String(await credentials(access)),
    /get credentials: open .*\/token: no such file or directory \(ENOENT\)/,
  );
});

test('the files of KUBECONFIG are merged without missing ones; the default is ~/.kube/config', async (t) => {
  const folder = folderWith(t, {
    'a/config': {
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server: 'https://first' } }],
    },
    'b/config': config({ tokenFile: 'token' }),
    'b/token': 'of-b',
    'home/.kube/config': config({ token: 'home' }),
  });
  const KUBECONFIG = `${folder}/none::${folder}/a/config:${folder}/b/config`;
  const HOME = `${folder}/home`;
  const merged = readKubeconfig(platform, { KUBECONFIG, HOME });
  assert.equal(formatServer(merged.servers[0]!), 'https://first:443');
  assert.deepEqual(await good(merged), { token: 'of-b' });
  const home = readKubeconfig(platform, { KUBECONFIG: '', HOME });
  assert.deepEqual(await good(home), { token: 'home' });
  assert.throws(() => readKubeconfig(platform, {}), /HOME is not set \(name one with --kubeconfig/);
  assert.throws(
    () => readKubeconfig(platform, { KUBECONFIG: '/no/a:/no/b' }),
    /read kubeconfig: \/no\/a, \/no\/b: no such file \(name one/,
  );
  assert.throws(() => readKubeconfig(platform, {}, { path: folder }), /EISDIR/);
});

test('a context is chosen by name, and its cluster and user must exist', (t) => {
  const contexts = [
    { name: 'one', context: { cluster: 'c' } },
    { name: 'two', context: { cluster: 'd' } },
    { name: 'three', context: { cluster: 'c', user: 'nobody' } },
  ];
  const clusters = [{ name: 'c', cluster: { server: 'https://a' } }];
  const path = `${folderWith(t, { config: { contexts, clusters } })}/config`;
  const read = (context?: string) => () =>
    readKubeconfig(platform, {}, { path, ...(context !== undefined && { context }) });
  assert.equal(read('one')().servers[0]!.host, 'a');
  assert.throws(
    read(),
    /current-context is not set \(choose one with --context: one, two, three\)/,
  );
  assert.throws(read('four'), /there is no context four \(there is: one, two, three\)/);
  assert.throws(read('two'), /context two is for the cluster d, which is missing \(there is: c\)/);
  assert.throws(read('three'), /is for the user nobody, which is missing \(there is: none\)/);
});

test('a kubeconfig without verification is warned of, and unsupported fields are refused', (t) => {
  const cases: [user: object, cluster: object, problem: RegExp][] = [
    [{}, { server: '' }, /cluster c: server is missing/],
    [{}, { server: '10.0.0.5' }, /cluster c: server 10\.0\.0\.5: it must read https:/],
    [{}, { 'certificate-authority-data': '%' }, /certificate-authority-data is no PEM in base64/],
    [{}, { 'certificate-authority-data': base64('x') }, /certificate-authority-data is no PEM/],
    [
      {},
      { 'insecure-skip-tls-verify': true, 'certificate-authority': 'x' },
      /and certificate-authority exclude each other/,
    ],
    [{}, { 'proxy-url': 'socks5://a:secret@b' }, /cluster c: proxy-url: .*socks5/],
    [{}, { 'proxy-url': 'http://a:sec/secret@b' }, /cluster c: proxy-url: /],
    [
      {},
      { server: 'https://me:secret@10.0.0.5:6443' },
      /server https:\/\/\*\*\*@10\.0\.0\.5:6443: it must/,
    ],
    [
      {},
      { server: 'https://me:se/secret@host/path' },
      /server https:\/\/\*\*\*@host\/path: it must/,
    ],
    [{ username: 'a', password: 'secret', token: 'secret' }, {}, /username is not supported/],
    [{ 'client-key': 'x' }, {}, /user u: client-certificate and client-key need each other/],
    [{ username: 'a', password: 'secret' }, {}, /user u: username is not supported/],
    [{ 'auth-provider': { name: 'oidc' } }, {}, /user u: auth-provider is not supported/],
    [{ as: 'somebody' }, {}, /user u: as is not supported/],
    [
      {
        exec: {
          command: 'x',
          apiVersion: 'client.authentication.k8s.io/v1',
          interactiveMode: 'Always',
        },
      },
      {},
      /x needs a terminal/,
    ],
    [{ exec: { command: 'x', apiVersion: 'v7' } }, {}, /exec\.apiVersion v7 is not supported/],
  ];
  for (const [user, cluster, problem] of cases) {
    const path = `${folderWith(t, { config: config(user, cluster) })}/config`;
    assert.throws(
      () => readKubeconfig(platform, {}, { path }),
      (error) => {
        assert.ok(error instanceof KubeconfigError, String(error));
        assert.match(error.message, problem);
        assert.ok(error.message.includes(path), error.message);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
  const warnings = (cluster: object) => {
    const path = `${folderWith(t, { config: config({}, cluster) })}/config`;
    return readKubeconfig(platform, {}, { path }).warnings.join();
  };
  assert.match(
    warnings({ 'insecure-skip-tls-verify': true }),
    /certificate is not verified; others on the path/,
  );
  assert.match(warnings({ server: 'http://10.0.0.5' }), /is reached without TLS/);
  const pem = base64('-----BEGIN X-----');
  const both = {
    ...{ username: 'me', password: 'secret' },
    ...{ 'client-certificate-data': pem, 'client-key-data': pem },
  };
  const path = `${folderWith(t, { config: config(both, {}) })}/config`;
  const access = readKubeconfig(platform, {}, { path });
  assert.match(
    access.warnings.join(),
    /user u: username and password are not used, the client certificate is$/,
  );
  access.credentials(undefined, (given) => {
    assert.ok(!(given instanceof Error));
    assert.deepEqual([given.cert, given.token], ['-----BEGIN X-----', undefined]);
  });
  assert.equal(warnings({ server: 'http://127.0.0.1:8001' }), '');
});

const plugin = `#!/bin/sh
echo x >> "$0.runs"
printf '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"%s-%s"}}' "$PREFIX" "$1"
printf '%s' "$KUBERNETES_EXEC_INFO" > "$0.info"
`;

test('a command returns the token, and files have the certificates', async (t) => {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1beta1',
    command: './bin/login',
    args: ['$(id)'],
    env: [{ name: 'PREFIX', value: 'a' }],
    provideClusterInfo: true,
  };
  const extensions = [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'y' } }];
  const folder = folderWith(t, {
    config: config({ exec }, { 'certificate-authority': 'ca', extensions }),
    ca: 'CA',
    'bin/login': plugin,
  });
  chmodSync(`${folder}/bin/login`, 0o700);
  const environment = { PATH: process.env.PATH };
  const access = readKubeconfig(platform, environment, { path: `${folder}/config` });
  const first = await good(access);
  assert.deepEqual(first, { ca: 'CA', token: 'a-$(id)' });
  assert.equal(await good(access), first);
  assert.equal(readFileSync(`${folder}/bin/login.runs`, 'utf8'), 'x\n');
  assert.deepEqual(JSON.parse(readFileSync(`${folder}/bin/login.info`, 'utf8')).spec, {
    interactive: false,
    cluster: {
      server: 'https://10.0.0.5:6443',
      'certificate-authority-data': base64('CA'),
      config: { audience: 'y' },
    },
  });
  assert.equal(await good(access, first), first, 'it gave the same again');
  assert.equal(readFileSync(`${folder}/bin/login.runs`, 'utf8'), 'x\nx\n');
  writeFileSync(`${folder}/ca`, 'CA2');
  const second = await good(access);
  assert.deepEqual(second, { ca: 'CA2', token: 'a-$(id)' });
  assert.equal(
    await good(access, first),
    second,
    'older ones that were refused say nothing of these',
  );
  assert.equal(readFileSync(`${folder}/bin/login.runs`, 'utf8'), 'x\nx\n');
  chmodSync(`${folder}/bin/login`, 0o600);
  assert.match(String(await credentials(access, second)), /from .*\/bin\/login: run .*EACCES/);
});

test('inClusterAccess uses the service account and the service address of either family', async (t) => {
  const folder = folderWith(t, { token: 'one', 'ca.crt': 'CA' });
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  const access = inClusterAccess(platform, environment, folder)!;
  assert.deepEqual(access.servers.map(formatServer), ['https://[fd00::1]:443']);
  assert.deepEqual(await good(access), { ca: 'CA', token: 'one' });
  writeFileSync(`${folder}/token`, 'two');
  assert.deepEqual(await good(access), { ca: 'CA', token: 'two' });
  const proxied = inClusterAccess(platform, { ...environment, HTTPS_PROXY: 'p:1' }, folder)!;
  assert.equal(proxied.proxyFor(proxied.servers[0]!)?.server.host, 'p');
  const broken = inClusterAccess(
    platform,
    { ...environment, HTTPS_PROXY: 'ftp://a:secret@b' },
    folder,
  )!;
  assert.throws(
    () => broken.proxyFor(broken.servers[0]!),
    /the proxy of HTTPS_PROXY: proxies with ftp:\/\//,
  );

  assert.equal(inClusterAccess(platform, {}, folder), undefined);
  assert.equal(inClusterAccess(platform, environment, `${folder}/none`), undefined);
  assert.throws(
    () => inClusterAccess(platform, { ...environment, KUBERNETES_SERVICE_PORT: 'x' }, folder),
    KubeconfigError,
  );
});

test('withApiServers puts given addresses first, and the previous server last', (t) => {
  const folder = folderWith(t, {
    token: 'one',
    'ca.crt': 'CA',
    config: config({}, { 'tls-server-name': 'k' }),
  });
  const environment = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
  const pod = inClusterAccess(platform, environment, folder)!;
  assert.equal(withApiServers(pod, []), pod);
  const moved = withApiServers(pod, ['https://10.0.0.5:6443', 'https://[fd00::5]:6443']);
  assert.deepEqual(moved.servers.map(formatServer), [
    'https://10.0.0.5:6443',
    'https://[fd00::5]:6443',
  ]);
  assert.equal(formatServer(moved.lastResort!), 'https://10.96.0.1:443');
  const named = withApiServers(readKubeconfig(platform, {}, { path: `${folder}/config` }), [
    'https://a',
  ]);
  assert.deepEqual([named.servers[0]!.serverName, named.lastResort!.host], ['k', '10.0.0.5']);
  assert.throws(
    () => withApiServers(pod, ['10.0.0.5']),
    /use 10\.0\.0\.5 as an API server: it must read https/,
  );
});
