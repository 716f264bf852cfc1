import { writeFileSync } from 'node:fs';
import {
  type ApiServerProcess,
  startApiServerProcess,
} from '@heddle/kube/testing/api-server-process';
import { BlockingSocket } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import { AgentLab } from './agent-lab.ts';
import { pod, service, slice } from './objects.ts';

interface ApiObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** The address of the API server inside the cluster: the service default/kubernetes. */
export const apiService = '10.96.0.1';
const token = 'token-of-the-agent';

/**
 * A lab whose agent watches a scripted API server over TLS with a kubeconfig. The API server is a
 * process on the first node.
 */
export class ClusterLab extends AgentLab {
  readonly #authority = new CertificateAuthority();
  readonly #servers: ApiServerProcess[] = [];
  #marker = 0;
  /**
   * The agent's arguments that name the cluster; by default the kubeconfig of the first API server.
   */
  agentArgs: readonly string[] = [];

  static async open(
    name: string,
    options?: { nodes?: number; podsPerNode?: number; outside?: number },
  ) {
    const cluster = new ClusterLab(name, options);
    try {
      await cluster.startServer();
      cluster.agentArgs = ['--kubeconfig', cluster.kubeconfig('own', cluster.server.url)];
      await cluster.write({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: cluster.node.name },
      });
      return cluster;
    } catch (error) {
      cluster[Symbol.dispose]();
      throw error;
    }
  }

  /** The first API server. */
  get server(): ApiServerProcess {
    return this.#servers[0]!;
  }

  /** Starts another API server with separate objects on the first node. It ends with the lab. */
  async startServer(): Promise<ApiServerProcess> {
    const host = this.node.addresses.v4;
    const hosts = [host, apiService, 'kubernetes.default.svc'];
    const tls = this.#authority.issue({ name: 'api server', hosts });
    const server = await startApiServerProcess({ host, tls, tokens: [token] }, (...args) =>
      this.node.spawn(...args),
    );
    this.#servers.push(server);
    return server;
  }

  /** Writes a kubeconfig and returns its path. */
  kubeconfig(name: string, server: string): string {
    const path = `${this.directory}/${name}.kubeconfig`;
    const ca = Buffer.from(this.#authority.cert).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'lab',
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'agent' } }],
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': ca } }],
      users: [{ name: 'agent', user: { token } }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** Creates or replaces objects (in the namespace `default` by default) at the API server. */
  async write(...objects: readonly ApiObject[]): Promise<void> {
    await this.writeAt(this.server, ...objects);
  }

  async writeAt(server: ApiServerProcess, ...objects: readonly ApiObject[]): Promise<void> {
    const placed = objects.map((object) => ({
      ...object,
      metadata:
        object.kind === 'Node' ? object.metadata : { namespace: 'default', ...object.metadata },
    }));
    await server.setAll(placed);
  }

  /** Writes objects and resolves when the agent has read them and no row is pending. */
  async apply(...objects: readonly ApiObject[]): Promise<void> {
    await this.#apply(
      objects.some(({ kind }) => kind === 'Pod'),
      ...objects,
    );
  }

  async #apply(hasPods: boolean, ...objects: readonly ApiObject[]): Promise<void> {
    // Services, EndpointSlices and Pods arrive on separate streams, each in order. When the
    // marker's Service and slice (and its Pod, if pods change) have arrived, all earlier objects
    // have too. The Pod's hostPort is at an address that is not the node's. (Nodes are read before
    // or soon after.)
    const port = 1024 + (++this.#marker % 60_000);
    const marker = { containerPort: 1, hostPort: port, hostIP: '198.51.100.250' };
    await this.write(
      ...objects,
      ...(hasPods ? [pod('marker', this.node.name, ['10.244.250.250'], [marker])] : []),
      service('marker', ['10.96.255.255'], { ports: [{ port }] }),
      slice('marker', ['10.244.250.250'], { ports: [{ port }] }),
    );
    await this.until('the objects to be programmed', async () => {
      const [row] = await this.service('marker');
      const isRead = row?.frontends[0]?.port === port && row.endpoints[0]?.port === port;
      const [podRow] = hasPods ? await this.service('default/pod/marker') : [];
      if (hasPods && !podRow?.port.endsWith(`:${port}`)) return false;
      return isRead && (await this.status()).rows.pending === 0;
    });
  }

  /** Removes an object of the namespace `default`, and resolves when the agent has read that. */
  async remove(kind: 'Service' | 'EndpointSlice' | 'Pod', name: string): Promise<void> {
    await this.server.remove(kind, 'default', name);
    await this.#apply(kind === 'Pod');
  }

  /**
   * Returns the body of a response of the agent's HTTP servers, or the status line if it is not
   * 200.
   */
  get(port: number, path: string): string {
    return this.node.enter(() => {
      using socket = BlockingSocket.open(this.platform, { protocol: 'tcp', family: 4 });
      socket.connect({ address: '127.0.0.1', port });
      socket.send(`GET ${path} HTTP/1.0\r\n\r\n`);
      let text = '';
      for (let bytes = socket.receive(); bytes.length > 0; bytes = socket.receive()) {
        text += decodeUtf8(bytes);
      }
      const [head, body] = text.split('\r\n\r\n');
      const [first] = head!.split('\r\n');
      return first === 'HTTP/1.1 200 OK' ? body! : first!;
    });
  }

  protected override sourceArgs(): readonly string[] {
    return this.agentArgs;
  }
}
