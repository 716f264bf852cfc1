import { writeFileSync } from 'node:fs';
import {
  type ApiServerProcess,
  startApiServerProcess,
} from '../../kube/testing/api-server-process.ts';
import { CertificateAuthority } from '../../kube/testing/certificates.ts';
import type { WrittenObject } from '../../kube/testing/object-store.ts';
import { AgentRun } from './agent-run.ts';
import { service, slice } from './objects.ts';

/**
 * The product as a cluster has it: the agent watches an API server, which is a process of its own on
 * the first node and says over TLS what the test sets.
 */
export class Cluster extends AgentRun {
  #api: ApiServerProcess | undefined;
  #marker = 0;

  static async start(
    name: string,
    options: { nodes?: number; podsPerNode?: number } = {},
  ): Promise<Cluster> {
    const cluster = new Cluster(name, options);
    try {
      await cluster.#startApi();
      return cluster;
    } catch (error) {
      cluster[Symbol.dispose]();
      throw error;
    }
  }

  get api(): ApiServerProcess {
    if (!this.#api) throw new Error('ask API server: none runs');
    return this.#api;
  }

  /** File for `--kubeconfig`. */
  get kubeconfig(): string {
    return `${this.place}/kubeconfig`;
  }

  /** Sets objects at the API server. */
  async write(...objects: readonly object[]): Promise<void> {
    await this.api.setAll(objects.map(namespaced));
  }

  /** Sets objects at the API server and returns once the agent has taken them in and no row is pending. */
  async set(...objects: readonly object[]): Promise<void> {
    // Services and EndpointSlices come on two streams; each in its order. When both halves of this
    // service have arrived, so has all that went before.
    const port = 1024 + (++this.#marker % 60_000);
    const marker = [
      service('marker', ['10.96.255.255'], { ports: [{ port }] }),
      slice('marker', ['10.244.250.250'], { ports: [{ port }] }),
    ];
    await this.write(...objects, ...marker);
    await this.until('the objects to be in force', async () => {
      const [row] = await this.service('marker');
      const isRead = row?.frontends[0]?.port === port && row.endpoints[0]?.port === port;
      return isRead && (await this.status()).rows.pending === 0;
    });
  }

  /** Removes an object of the namespace `default`, as `set` sets one. */
  async remove(kind: 'Service' | 'EndpointSlice', name: string): Promise<void> {
    await this.api.remove(kind, 'default', name);
    await this.set();
  }

  async #startApi(): Promise<void> {
    const authority = new CertificateAuthority();
    const token = 'a-token-of-the-agent';
    this.#api = await startApiServerProcess(
      { tls: authority.issue({ name: 'kube-apiserver', hosts: ['127.0.0.1'] }), tokens: [token] },
      (command, args, options) => this.node.spawn(command, args, options),
    );
    const cluster = {
      server: this.#api.url,
      'certificate-authority-data': Buffer.from(authority.cert).toString('base64'),
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token } }],
    };
    writeFileSync(this.kubeconfig, JSON.stringify(config), { mode: 0o600 });
  }

  protected override sourceArgs(): readonly string[] {
    return ['--kubeconfig', this.kubeconfig];
  }
}

/** An object as the API server has it: with a namespace, which a manifest may leave open. */
function namespaced(object: object): WrittenObject {
  const { kind, metadata } = object as WrittenObject;
  return kind === 'Node'
    ? (object as WrittenObject)
    : ({ ...object, metadata: { namespace: 'default', ...metadata } } as WrittenObject);
}
