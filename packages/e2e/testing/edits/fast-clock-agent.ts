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
import { ProgrammedMaps } from './programmed-maps.ts';

const sizes = {
  services: 1000,
  servicesMax: 100_000,
  backends: 1000,
  slots: 100_000,
  affinity: 100,
  flows: 100,
};
/**
 * The factor by which its clock is faster, so that its delays (for half-written files) are short.
 */
const speedup = 200;

/**
 * The agent in this process with a fast clock, a folder that it watches, and the kernel's maps.
 * Tests can wait until it has read an edit.
 */
export class FastClockAgent implements Disposable {
  readonly #lab: Lab;
  readonly #node: LabNode;
  readonly #platform: Platform;
  readonly #bpf: LinuxBpf;
  readonly #directory: string;
  readonly folder: string;
  readonly deviceAddresses: readonly string[];
  /** The objects that the source has reported, as text by label. */
  readonly #reported = new Map<string, string>();
  readonly #invalid = new Set<string>();
  /** The files that the source reported as faulty. */
  #faultyFiles = new Set<string>();
  #marks = 0;
  #lastNotes = '';
  #agent: Agent;
  #onBatch = () => {};
  readonly view: ProgrammedMaps;

  constructor() {
    const real = nodePlatform(() => {});
    this.#platform = {
      ...real,
      setTimer: (milliseconds, fire) => real.setTimer(milliseconds / speedup, fire),
      monotonicNs: () => real.monotonicNs() * BigInt(speedup),
    };
    this.#bpf = new LinuxBpf(this.#platform);
    this.#lab = createLab(real, { name: `edits-${process.pid}` });
    this.#node = this.#lab.nodes[0]!;
    this.#directory = `${dirname(this.#lab.bpffs)}/edits`;
    this.folder = `${this.#directory}/manifests`;
    mkdirSync(this.folder, { recursive: true });
    try {
      this.deviceAddresses = this.#node.enter(() =>
        ownAddresses(real).map(({ address }) => address),
      );
      this.#agent = this.#start();
      this.view = new ProgrammedMaps(this.#bpf, this.#node.bpffs);
    } catch (error) {
      this.#lab.remove();
      throw error;
    }
  }

  /** Ends the agent, corrupts its maps and starts another agent. */
  restart(random: Random): void {
    this.#agent[Symbol.dispose]();
    this.#damage(random);
    this.#reported.clear();
    this.#invalid.clear();
    this.#faultyFiles.clear();
    this.#agent = this.#start();
  }

  /** Resolves to true when the agent has read all edits; to false after a timeout. */
  async waitUntilRead(editor: FolderEditor): Promise<boolean> {
    if (this.#hasRead(editor)) await this.#waitForMark();
    return await this.#until(() => this.#hasRead(editor));
  }

  /** Waits until the agent has read an edit without effect, which may matter for the next one. */
  async #waitForMark(): Promise<void> {
    const mark = `mark-${++this.#marks}`;
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: mark } };
    writeFileSync(`${this.folder}/.mark`, JSON.stringify(object));
    renameSync(`${this.folder}/.mark`, `${this.folder}/zzz.json`);
    await this.#until(() => this.#lastNotes.includes(`${mark} `));
    // The agent drops a missing file only after a delay.
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

  /** Returns the differences between the reported objects and the editor's. */
  differences(editor: FolderEditor): string[] {
    const wanted = new Map([...editor.objects].map(([label, each]) => [label, recordText(each)]));
    return [
      ...[...wanted].flatMap(([label, text]) =>
        this.#reported.get(label) === text ? [] : [label],
      ),
      ...[...this.#reported.keys()]
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

  #hasRead(editor: FolderEditor): boolean {
    if (this.#reported.size !== editor.objects.size) return false;
    if (this.#invalid.size !== editor.unusable.size) return false;
    for (const [label, object] of editor.objects) {
      if (this.#reported.get(label) !== recordText(object)) return false;
    }
    for (const label of editor.unusable) if (!this.#invalid.has(label)) return false;
    // A version that another file overrides may still count as half written.
    const { faultyFiles } = editor;
    return (
      faultyFiles.size === this.#faultyFiles.size &&
      [...faultyFiles].every((name) => this.#faultyFiles.has(name))
    );
  }

  #start(): Agent {
    const platform = this.#platform;
    const { name, cgroup, bpffs, netnsCookie } = this.#node;
    const config = readConfig(undefined, {
      manifests: this.folder,
      socket: `${this.#directory}/agent.sock`,
    });
    const { options } = config;
    return this.#node.enter(
      () =>
        new Agent({
          platform,
          config: {
            ...config,
            ...{ node: name, cgroup, bpffs, healthAddress: 'off', metricsAddress: 'off' },
            sizes: { ...config.sizes, ...sizes },
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
                  if (change.op === 'set') this.#reported.set(label, textOf(change.object));
                  if (change.op === 'delete') this.#reported.delete(label);
                  if (change.op === 'invalid') this.#invalid.add(label);
                  else this.#invalid.delete(label);
                }
                const troubles = batch.problems.filter(
                  ({ message }) => !message.includes('is not taken from here'),
                );
                this.#faultyFiles = new Set(troubles.map(({ file }) => file));
                this.#lastNotes = batch.notes.map(({ message }) => message).join();
                listener.onChange(batch);
                this.#onBatch();
              },
            }),
        }),
    );
  }

  /** Flips bits of some entries and deletes others. */
  #damage(random: Random): void {
    for (const name of ['services', 'addresses', 'slots', 'backends']) {
      using map = BpfMap.openPinned(this.#bpf, `${currentPins(this.#node.bpffs).maps}/${name}`);
      let left = 200;
      for (const [key, value] of [...map.entries()]) {
        if (left-- === 0) break;
        const choice = random.below(10);
        if (choice === 0 && (name === 'services' || name === 'addresses')) map.delete(key);
        if (choice !== 1) continue;
        value[random.below(value.length)]! ^= 1 << random.below(8);
        map.update(key, value);
      }
    }
  }
}

const texts = new WeakMap<object, string>();

/** Returns the text of the record that the source reports for an object. */
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
