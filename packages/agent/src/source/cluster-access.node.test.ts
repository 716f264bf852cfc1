import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { formatServer, KubeconfigError } from '@heddle/kube';
import { nodePlatform } from '@heddle/sys/node';
import { ConfigError } from '../config.ts';
import { findAccess } from './cluster-access.ts';

const platform = nodePlatform(() => {});
let home: string;

function kubeconfig(...hosts: readonly string[]): string {
  const named = (kind: string, value: (host: string) => object) =>
    hosts.map((host) => ({ name: host, [kind]: value(host) }));
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': hosts[0],
    clusters: named('cluster', (host) => ({ server: `https://${host}:6443` })),
    contexts: named('context', (host) => ({ cluster: host })),
  });
}

/** Returns the API servers that are found, in the order in which they are tried. */
function found(
  environment: Record<string, string>,
  config: { kubeconfig?: string; context?: string; apiServers?: readonly string[] } = {},
): string[] {
  const access = findAccess(platform, environment, { apiServers: [], ...config });
  return [...access.servers, ...(access.lastResort ? [access.lastResort] : [])].map(formatServer);
}

describe('access to the cluster', () => {
  before(() => {
    home = mkdtempSync(`${tmpdir()}/heddle-access-`);
    mkdirSync(`${home}/.kube`);
    writeFileSync(`${home}/.kube/config`, kubeconfig('at-home', 'other'));
    writeFileSync(`${home}/named`, kubeconfig('named'));
  });
  after(() => rmSync(home, { recursive: true }));

  it('is by the kubeconfig that kubectl would use', () => {
    assert.deepEqual(found({ HOME: home }), ['https://at-home:6443']);
    assert.deepEqual(found({ HOME: home, KUBECONFIG: `${home}/named` }), ['https://named:6443']);
  });

  it('is by the configured kubeconfig', () => {
    const named = { kubeconfig: `${home}/named` };
    assert.deepEqual(found({ HOME: home }, named), ['https://named:6443']);
    assert.deepEqual(found({ HOME: home }, { context: 'other' }), ['https://other:6443']);
    assert.throws(() => found({ HOME: home }, { context: 'none' }), KubeconfigError);
    assert.throws(() => found({}, { kubeconfig: `${home}/gone` }), /gone: no such file/);
  });

  it('prefers the given API servers', () => {
    const apiServers = ['https://192.0.2.1:6443', 'https://[fd00::1]:6443'];
    assert.deepEqual(found({ HOME: home }, { apiServers }), [
      ...apiServers,
      'https://at-home:6443',
    ]);
  });

  it('is an error that names all possibilities when there is none', () => {
    for (const environment of [
      {},
      { HOME: '/nowhere' },
      { KUBERNETES_SERVICE_HOST: '10.96.0.1' },
    ]) {
      assert.throws(
        () => found(environment as Record<string, string>),
        (error) =>
          error instanceof ConfigError &&
          /^find source: .*--manifests DIR or --kubeconfig FILE/.test(error.message),
      );
    }
  });
});
