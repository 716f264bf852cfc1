import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { type ObjectRef, objectLabel, type ServiceRecord, serviceReader } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { openFolderSource, type SourceBatch } from '../src/source/index.ts';

/** A folder of manifests in a temporary place, watched by a folder source. */
export class WatchedFolder implements Disposable {
  readonly #root = mkdtempSync(`${tmpdir()}/heddle-manifests-`);
  readonly path = `${this.#root}/manifests`;
  /** The batches that the source has reported. */
  readonly batches: SourceBatch[] = [];
  /** The objects after the reported changes, by label. */
  readonly objects = new Map<string, ObjectRef>();
  /** Labels of objects that are reported as unusable. */
  readonly invalid = new Set<string>();
  #source: Disposable | undefined;

  constructor() {
    mkdirSync(this.path);
  }

  open(path = this.path): void {
    this.#source = openFolderSource(nodePlatform(), path, {
      reader: serviceReader,
      onChange: (batch) => {
        this.batches.push(batch);
        for (const change of batch.changes) {
          const label = objectLabel(change.op === 'set' ? change.object : change);
          if (change.op === 'set') this.objects.set(label, change.object);
          if (change.op === 'delete') this.objects.delete(label);
          if (change.op === 'invalid') this.invalid.add(label);
          else this.invalid.delete(label);
        }
      },
    });
  }

  get labels(): string[] {
    return [...this.objects.keys()].sort();
  }

  get complete(): boolean {
    return this.batches.at(-1)?.complete ?? false;
  }

  /** Present problems, as `file:line message`. */
  get problems(): string[] {
    const { problems } = this.batches.at(-1) ?? { problems: [] };
    return problems.map(
      ({ file, line, message }) =>
        `${file.replace(this.#root, '')}:${line} ${message.replaceAll(this.#root, '')}`,
    );
  }

  /** Returns the ClusterIP of a service in the namespace `default`. */
  clusterIP(name: string): string | undefined {
    const record = this.objects.get(`Service default/${name}`);
    return (record as ServiceRecord | undefined)?.clusterIPs[0];
  }

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  write(name: string, text: string): void {
    writeFileSync(this.file(name), text);
  }

  append(name: string, text: string): void {
    appendFileSync(this.file(name), text);
  }

  remove(name: string): void {
    rmSync(this.file(name));
  }

  rename(from: string, to: string): void {
    renameSync(this.file(from), this.file(to));
  }

  link(target: string, name: string): void {
    symlinkSync(target, this.file(name));
  }

  /** Waits until the changes that the source has reported make `condition` true. */
  async until(condition: () => boolean, what = 'the expected change'): Promise<void> {
    const detail = () => this.labels.join(', ');
    await eventually(what, condition, { ms: 5000, stepMs: 5, detail });
  }

  /** Waits until the source reports no changes for a while. */
  async quiet(milliseconds = 200): Promise<void> {
    for (let count = -1; count !== this.batches.length; ) {
      count = this.batches.length;
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
    }
  }

  [Symbol.dispose](): void {
    this.#source?.[Symbol.dispose]();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
