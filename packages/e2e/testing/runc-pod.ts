import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { KubernetesObject } from '@heddle/deploy';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const repository = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string };
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly mountPropagation?: string;
}

interface Container {
  readonly args: readonly string[];
  readonly volumeMounts: readonly Mount[];
  readonly securityContext: {
    readonly capabilities: { readonly add: readonly string[] };
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
  };
}

interface PodSpec {
  readonly containers: readonly [Container];
  readonly volumes: readonly Volume[];
}

export interface RuncPodOptions {
  /** An empty folder, for the files of runc. */
  readonly folder: string;
  /** The objects of a deployment. */
  readonly objects: readonly KubernetesObject[];
  readonly nodeName: string;
  /** The file of the network namespace of the node. */
  readonly netns: string;
  /** The folder of manifests that the agent reads. */
  readonly manifests: string;
  /** Returns where the lab has a path of the node. */
  readonly onNode: (path: string) => string;
  /** A capability that the container does not get. */
  readonly withoutCapability?: string | undefined;
  /** A volume that the container does not get. */
  readonly withoutVolume?: string | undefined;
}

/** The container of a deployment's DaemonSet, run by runc with the rights and mounts that the DaemonSet gives it. */
export class RuncPod {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #root: string;
  readonly #id = `heddle-${process.pid}-${Date.now()}`;
  /** The output of the agent. */
  output = '';

  constructor(options: RuncPodOptions) {
    const { folder } = options;
    for (const name of ['rootfs', 'config', 'runc']) mkdirSync(`${folder}/${name}`);
    const kind = (wanted: string) => options.objects.find((each) => each.kind === wanted)!;
    const { 'agent.yaml': config } = kind('ConfigMap').data as { 'agent.yaml': string };
    writeFileSync(`${folder}/config/agent.yaml`, `${config}manifests: /manifests\n`);
    const { template } = kind('DaemonSet').spec as unknown as { template: { spec: PodSpec } };
    const bundle = bundleOf(template.spec, options);
    writeFileSync(`${folder}/config.json`, JSON.stringify(bundle));
    this.#root = `${folder}/runc`;
    const [root, id] = [this.#root, this.#id];
    this.#process = spawn('runc', ['--root', root, 'run', '--bundle', folder, id], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on('data', (data) => {
        this.output += data;
      });
    }
    this.#ended = once(this.#process, 'close').then(() =>
      spawnSync('runc', ['--root', root, 'delete', '--force', id]),
    );
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null;
  }

  /** Runs `heddle ARGS` in the container, as `kubectl exec` does, and returns its output. */
  async heddle(...args: readonly string[]): Promise<string> {
    const command = [process.execPath, program, ...args];
    const child = spawn('runc', ['--root', this.#root, 'exec', this.#id, ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return await text(child.stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // runc passes the signal on to the agent, and ends with it.
    this.#process.kill();
    await this.#ended;
  }
}

/** Returns the configuration of an OCI bundle (config.json) for the container of a pod. */
function bundleOf({ containers: [container], volumes }: PodSpec, options: RuncPodOptions) {
  const { folder, nodeName, netns, manifests, onNode } = options;
  const { securityContext } = container;
  const { add } = securityContext.capabilities;
  const capabilities = add
    .filter((name) => name !== options.withoutCapability)
    .map((name) => `CAP_${name}`);
  const sourceOf = (name: string) => {
    const path = volumes.find((volume) => volume.name === name)!.hostPath?.path;
    return path === undefined ? `${folder}/${name}` : onNode(path);
  };
  const bind = (destination: string, source: string, ...flags: string[]) => ({
    ...{ destination, source, type: 'bind' },
    options: ['rbind', ...flags],
  });
  const volumeMounts = container.volumeMounts
    .filter(({ name }) => name !== options.withoutVolume)
    .map(({ name, mountPath, readOnly, mountPropagation }) =>
      bind(
        mountPath,
        sourceOf(name),
        readOnly ? 'ro' : 'rw',
        mountPropagation === 'HostToContainer' ? 'rslave' : 'rprivate',
      ),
    );
  // The parts of this machine that take the place of the image.
  const image = ['/usr', '/bin', '/lib', '/lib64', repository];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      cwd: '/',
      env: ['PATH=/usr/sbin:/usr/bin'],
      args: [
        ...[process.execPath, program],
        ...container.args.map((arg) => arg.replace('$(NODE_NAME)', nodeName)),
      ],
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: !securityContext.allowPrivilegeEscalation,
    },
    root: { path: 'rootfs', readonly: securityContext.readOnlyRootFilesystem },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'ro'] },
      ...image.map((path) => bind(path, path, 'ro', 'rprivate')),
      bind('/manifests', manifests, 'ro', 'rprivate'),
      ...volumeMounts,
    ],
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        { type: 'network', path: netns },
      ],
      rootfsPropagation: 'rslave',
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}
