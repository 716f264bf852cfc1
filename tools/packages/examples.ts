import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { ApiServer } from '@heddle/kube/testing/api-server';
import { cgroupRoot } from '@heddle/lab';
import type { libraries } from './libraries.ts';
import { run } from './run.ts';

type Library = (typeof libraries)[number];

/** The arguments of the examples that need some. */
const argumentsOf: { readonly [name in Library]?: readonly string[] } = {
  ebpf: ['connects.o', cgroupRoot()],
  vm: ['packets.o', 'xdp_count'],
};

/** The expected output of each example. */
const expected: Readonly<Record<Library, RegExp>> = {
  sys: /^\S+\n\d+ threads\nopen \/no\/such\/file: no such file or directory \(ENOENT\)\n$/,
  state: /^1 done\n$/,
  ebpf: /^link \d+ on .*\n(port \d+: \d+\n)+$/,
  netlink: /^eth0 has 10\.7\.0\.2\/24\n/m,
  kube: /^default\/web 10\.96\.0\.1\n$/,
  vm: /^xdp_count returned 2\n(.*packets\.bpf\.c:\d+ ran 1 times\n)+$/,
};

/** The examples of the libraries' READMEs, with an API server and connections for them. */
export class Examples implements AsyncDisposable {
  readonly #project: string;
  readonly #server: ApiServer;
  readonly #connections: NodeJS.Timeout;

  private constructor(project: string, server: ApiServer) {
    this.#project = project;
    this.#server = server;
    const port = Number(new URL(server.url).port);
    this.#connections = setInterval(() => connect(port, '127.0.0.1').end(), 100);
  }

  /** `project` has the examples as `out/NAME.js`. */
  static async start(project: string): Promise<Examples> {
    const server = await ApiServer.start();
    server.set({
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'default', name: 'web' } },
      spec: { clusterIP: '10.96.0.1' },
    });
    const kubeconfig = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
      clusters: [{ name: 'test', cluster: { server: server.url } }],
      users: [{ name: 'test', user: {} }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    };
    writeFileSync(`${project}/kubeconfig`, JSON.stringify(kubeconfig));
    return new Examples(project, server);
  }

  /** Runs an example. Throws Error when it fails or writes something else than expected. */
  async run(node: string, name: Library): Promise<void> {
    const output = await run(node, [`out/${name}.js`, ...(argumentsOf[name] ?? [])], {
      cwd: this.#project,
      env: { ...process.env, KUBECONFIG: `${this.#project}/kubeconfig` },
    });
    if (!expected[name].test(output)) {
      throw new Error(`run the example of ${name}: its output is\n${output}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#connections);
    await this.#server.stop();
  }
}
