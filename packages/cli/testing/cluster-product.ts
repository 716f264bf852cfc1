import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type ApiServerProcess,
  startApiServerProcess,
} from '@heddle/kube/testing/api-server-process';
import { CertificateAuthority } from '@heddle/kube/testing/certificates';
import { BlockingSocket } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { Product } from './product.ts';

interface ApiObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** Where the API server is reached inside the cluster: the service default/kubernetes. */
export const apiService = '10.96.0.1';
const token = 'token-of-the-agent';

/**
 * The product with a cluster in place of a folder: a scripted API server over TLS on the first
 * node, and a kubeconfig that names it.
 */
export class ClusterProduct extends Product implements AsyncDisposable {
  readonly #authority = new CertificateAuthority();
  readonly #servers: ApiServerProcess[] = [];
  readonly #place: string;
  /** What the agent is told of the cluster; by default the kubeconfig of the first API server. */
  agentArgs: readonly string[] = [];

  private constructor(name: string) {
    super(name, { podsPerNode: 3 });
    this.#place = dirname(this.folder);
  }

  static async open(name: string): Promise<ClusterProduct> {
    const product = new ClusterProduct(name);
    try {
      await product.startServer();
      product.agentArgs = ['--kubeconfig', product.kubeconfig('own', product.server.url)];
      await product.set({ apiVersion: 'v1', kind: 'Node', metadata: { name: product.node.name } });
      return product;
    } catch (error) {
      await product[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The first API server. */
  get server(): ApiServerProcess {
    return this.#servers[0]!;
  }

  protected override get sourceArgs(): readonly string[] {
    return this.agentArgs;
  }

  /** Starts another API server on the first node, with objects of its own. */
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
    const path = `${this.#place}/${name}.kubeconfig`;
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

  /** Creates or replaces objects (in the namespace `default` unless they say) at an API server. */
  async set(...objects: readonly ApiObject[]): Promise<void> {
    await this.setAt(this.server, ...objects);
  }

  async setAt(server: ApiServerProcess, ...objects: readonly ApiObject[]): Promise<void> {
    const placed = objects.map((object) => ({
      ...object,
      metadata:
        object.kind === 'Node' ? object.metadata : { namespace: 'default', ...object.metadata },
    }));
    await server.setAll(placed);
  }

  /** The body of a document of the agent's HTTP servers, or the status line if it is not 200. */
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

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
    this[Symbol.dispose]();
  }
}
