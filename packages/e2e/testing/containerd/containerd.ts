import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { cgroupRoot, type LabNode } from '@heddle/lab';
import { eventually } from '@heddle/sys/testing/eventually';
import { CriClient } from './cri-client.ts';
import { pauseImage, writePauseImage } from './pause-image.ts';

/** Returns why this machine cannot run containerd, or false when it can. */
export function withoutContainerd(): string | false {
  const missing = ['containerd', 'ctr', 'runc'].filter(
    (command) => spawnSync(command, ['--version']).status !== 0,
  );
  if (missing.length === 0) return false;
  return `no ${missing.join(', ')} (apt install containerd runc)`;
}

/** The directories of CNI. */
export interface CniDirectories {
  readonly binDir: string;
  readonly configDir: string;
}

/**
 * containerd with runc in the network namespace of a node, whose folders are all in one. The lab of the node ends its
 * processes and mounts with its own.
 */
export class Containerd implements AsyncDisposable {
  readonly client: CriClient;
  /** The output of containerd, for messages of failed tests. */
  log = '';
  readonly #node: LabNode;
  readonly #folder: string;
  readonly #cgroupParent: string;
  #process: ChildProcess | undefined;

  /** `cni` has the directories in which containerd looks for plug-ins and configurations. */
  constructor(node: LabNode, folder: string, cni: CniDirectories) {
    this.#node = node;
    this.#folder = folder;
    mkdirSync(folder);
    this.#cgroupParent = `${node.cgroup.slice(cgroupRoot().length)}/pods`;
    this.client = new CriClient(`${folder}/containerd.sock`, this.#cgroupParent);
    writeFileSync(`${folder}/config.toml`, configuration(folder, cni));
  }

  /** Starts containerd and resolves when it answers. */
  async start(): Promise<void> {
    const process = this.#node.spawn('containerd', ['-c', `${this.#folder}/config.toml`], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = process;
    process.stderr!.on('data', (data) => {
      this.log = `${this.log}${data}`.slice(-20_000);
    });
    const detail = () => this.log;
    await eventually(
      'containerd answers',
      async () => {
        if (process.exitCode !== null) throw new Error(`start containerd: it ended\n${this.log}`);
        return (await this.client.listPodSandboxes().catch(() => undefined)) !== undefined;
      },
      { ms: 30_000, stepMs: 50, detail },
    );
  }

  /** Makes the image of the sandboxes without a network. */
  importPauseImage(): void {
    const archive = `${this.#folder}/pause.tar`;
    writePauseImage(this.#folder, archive);
    const address = ['-a', `${this.#folder}/containerd.sock`, '-n', 'k8s.io'];
    execFileSync('ctr', [...address, 'images', 'import', archive], { stdio: 'pipe' });
  }

  /** Ends containerd by a signal. The pods run on. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const exited = once(process, 'exit');
    process.kill(signal);
    await exited;
  }

  /** Ends containerd and removes its pods. What fails is left to the lab. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const id of await this.client.listPodSandboxes()) {
        await this.client.stopPodSandbox(id);
        await this.client.removePodSandbox(id);
      }
    } catch {
      // It does not run, or the test failed because of what fails here again.
    }
    await this.kill('SIGTERM');
    this.#removeCgroups();
  }

  /** Removes the cgroups of version 1, which the lab does not know. */
  #removeCgroups(): void {
    const root = cgroupRoot().replace(/\/unified$/, '');
    if (root === cgroupRoot()) return;
    for (const hierarchy of readdirSync(root)) {
      // The cgroup of the lab.
      removeTree(`${root}/${hierarchy}/${this.#cgroupParent.split('/')[1]}`);
    }
  }
}

/** Returns the configuration of containerd. */
function configuration(folder: string, { binDir, configDir }: CniDirectories): string {
  const unused = ['aufs', 'btrfs', 'devmapper', 'zfs'];
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = [${unused.map((name) => `"io.containerd.snapshotter.v1.${name}"`).join(', ')}]
[grpc]
  address = "${folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${binDir}"
  conf_dir = "${configDir}"
`;
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(`${folder}/${entry.name}`);
  }
  try {
    rmdirSync(folder);
  } catch {
    // A process that the lab ends is still in it.
  }
}
