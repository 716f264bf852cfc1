import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Agent,
  allFeatures,
  openFolderSource,
  ownAddresses,
  prepareBpffs,
  readConfig,
} from '@heddle/agent';
import { objects } from '@heddle/assets';
import { currentPins, defaultNat, openDatapath, PinLock, pinRoot } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { createLab, type Lab, type LabNode } from '@heddle/lab';
import { type ObjectRef, objectLabel, readObject } from '@heddle/objects';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import type { Random } from '@heddle/vm/internal';
import type { FolderEditor } from './folder-editor.ts';
import { KernelView } from './kernel-view.ts';

const sizes = {
  services: 1000,
  servicesMax: 100_000,
  backends: 1000,
  slots: 100_000,
  affinity: 100,
  flows: 100,
};
/** Its clock runs so much faster, so that what it waits for (half-written files) is soon over. */
const haste = 200;

/**
 * The agent in this process, with a folder that it watches and the kernel's maps: everything but
 * the process. It says at once when it has taken something in.
 */
export class HastyAgent implements Disposable {
  readonly #lab: Lab;
  readonly #node: LabNode;
  readonly #platform: Platform;
  readonly #bpf: LinuxBpf;
  readonly #place: string;
  readonly folder: string;
  readonly deviceAddresses: readonly string[];
  /** What the source has given out, as text by label. */
  readonly #given = new Map<string, string>();
  readonly #invalid = new Set<string>();
  /** Files of which it said that something can't be read or used. */
  #troubled = new Set<string>();
  #marks = 0;
  #lastNotes = '';
  #agent: Agent;
  #onBatch = () => {};
  readonly view: KernelView;

  constructor() {
    const real = nodePlatform(() => {});
    this.#platform = {
      ...real,
      setTimer: (milliseconds, fire) => real.setTimer(milliseconds / haste, fire),
      monotonicNs: () => real.monotonicNs() * BigInt(haste),
    };
    this.#bpf = new LinuxBpf(this.#platform);
    this.#lab = createLab(real, { name: `edits-${process.pid}` });
    this.#node = this.#lab.nodes[0]!;
    this.#place = `${dirname(this.#lab.bpffs)}/edits`;
    this.folder = `${this.#place}/manifests`;
    mkdirSync(this.folder, { recursive: true });
    try {
      this.deviceAddresses = this.#node.enter(() =>
        ownAddresses(real).map(({ address }) => address),
      );
      this.#agent = this.#start();
      this.view = new KernelView(this.#bpf, this.#node.bpffs);
    } catch (error) {
      this.#lab.remove();
      throw error;
    }
  }

  /** Ends the agent, damages what it left in the kernel, and starts another one. */
  restart(random: Random): void {
    this.#agent[Symbol.dispose]();
    this.#damage(random);
    this.#given.clear();
    this.#invalid.clear();
    this.#troubled.clear();
    this.#agent = this.#start();
  }

  /** Returns once the agent has taken in all that the editor has written; false if it doesn't. */
  async caughtUp(editor: FolderEditor): Promise<boolean> {
    if (this.#isCaughtUp(editor)) await this.#seen();
    return await this.#until(() => this.#isCaughtUp(editor));
  }

  /** An edit that changes nothing may matter for the next one, so the agent must have seen it too. */
  async #seen(): Promise<void> {
    const mark = `mark-${++this.#marks}`;
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: mark } };
    writeFileSync(`${this.folder}/.mark`, JSON.stringify(object));
    renameSync(`${this.folder}/.mark`, `${this.folder}/zzz.json`);
    await this.#until(() => this.#lastNotes.includes(`${mark} `));
    // It gives up on a file that is missing only after a while.
    await sleep(2);
  }

  async #until(condition: () => boolean): Promise<boolean> {
    const end = Date.now() + 10_000;
    while (!condition()) {
      if (Date.now() > end) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#onBatch = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return true;
  }

  /** What is given out and shouldn't be, and the other way round. */
  differences(editor: FolderEditor): string[] {
    const wanted = new Map([...editor.objects].map(([label, each]) => [label, recordText(each)]));
    return [
      ...[...wanted].flatMap(([label, text]) => (this.#given.get(label) === text ? [] : [label])),
      ...[...this.#given.keys()]
        .filter((label) => !wanted.has(label))
        .map((label) => `not ${label}`),
      ...[...editor.unusable]
        .filter((label) => !this.#invalid.has(label))
        .map((l) => `unusable ${l}`),
      ...[...this.#invalid]
        .filter((label) => !editor.unusable.has(label))
        .map((l) => `usable ${l}`),
    ];
  }

  [Symbol.dispose](): void {
    this.#agent[Symbol.dispose]();
    this.view[Symbol.dispose]();
    this.#lab.remove();
  }

  #isCaughtUp(editor: FolderEditor): boolean {
    if (this.#given.size !== editor.objects.size) return false;
    if (this.#invalid.size !== editor.unusable.size) return false;
    for (const [label, object] of editor.objects) {
      if (this.#given.get(label) !== recordText(object)) return false;
    }
    for (const label of editor.unusable) if (!this.#invalid.has(label)) return false;
    // What nobody sees yet, as another file has the say, may still be taken for half written.
    const { troubled } = editor;
    return (
      troubled.size === this.#troubled.size &&
      [...troubled].every((name) => this.#troubled.has(name))
    );
  }

  #start(): Agent {
    const platform = this.#platform;
    const { name, cgroup, bpffs, netnsCookie } = this.#node;
    const config = readConfig(undefined, {
      manifests: this.folder,
      socket: `${this.#place}/agent.sock`,
    });
    const { options } = config;
    return this.#node.enter(
      () =>
        new Agent({
          platform,
          config: {
            ...config,
            ...{ node: name, cgroup, bpffs, sizes, healthAddress: 'off', metricsAddress: 'off' },
          },
          version: 'test',
          features: allFeatures,
          takePins: () => {
            prepareBpffs(platform, bpffs, { inPod: false });
            return new PinLock(platform, pinRoot(bpffs));
          },
          openDatapath: () => {
            const bpf = this.#bpf;
            return openDatapath({
              ...{ platform, bpf, objects, bpffs, cgroup, sizes, netnsCookie, options },
              nat: defaultNat,
            });
          },
          openSource: (listener, { reader }) =>
            openFolderSource(platform, this.folder, {
              reader,
              onChange: (batch) => {
                for (const change of batch.changes) {
                  const label = objectLabel(change.op === 'set' ? change.object : change);
                  if (change.op === 'set') this.#given.set(label, textOf(change.object));
                  if (change.op === 'delete') this.#given.delete(label);
                  if (change.op === 'invalid') this.#invalid.add(label);
                  else this.#invalid.delete(label);
                }
                const troubles = batch.problems.filter(
                  ({ message }) => !message.includes('is not taken from here'),
                );
                this.#troubled = new Set(troubles.map(({ file }) => file));
                this.#lastNotes = batch.notes.map(({ message }) => message).join();
                listener.onChange(batch);
                this.#onBatch();
              },
            }),
        }),
    );
  }

  /** Flips bits of entries and deletes others. */
  #damage(random: Random): void {
    for (const name of ['services', 'addresses', 'slots', 'backends']) {
      using map = BpfMap.openPinned(this.#bpf, `${currentPins(this.#node.bpffs).maps}/${name}`);
      let left = 200;
      for (const [key, value] of [...map.entries()]) {
        if (left-- === 0) break;
        const fate = random.below(10);
        if (fate === 0 && (name === 'services' || name === 'addresses')) map.delete(key);
        if (fate !== 1) continue;
        value[random.below(value.length)]! ^= 1 << random.below(8);
        map.update(key, value);
      }
    }
  }
}

const texts = new WeakMap<object, string>();

/** What the source gives out for an object. Reading objects is tested elsewhere. */
function recordText(object: object): string {
  let text = texts.get(object);
  if (text === undefined) {
    const read = readObject(object);
    text = 'record' in read ? textOf(read.record) : JSON.stringify(read);
    texts.set(object, text);
  }
  return text;
}

function textOf(record: ObjectRef): string {
  return JSON.stringify(record, (_, value) => (value instanceof Map ? [...value] : value));
}
