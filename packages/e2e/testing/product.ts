import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { AgentEvent } from '@heddle/agent';
import { AgentRun } from './agent-run.ts';

/** The product as it runs without a cluster: the agent reads a folder of manifests. */
export class Product extends AgentRun {
  /** The folder of manifests. */
  readonly folder: string;
  /** Names of the markers that agents have read. */
  readonly #said = new Set<string>();
  #marker = 0;

  constructor(
    name: string,
    options: { nodes?: number; podsPerNode?: number; outside?: number } = {},
  ) {
    super(name, options);
    this.folder = `${this.place}/manifests`;
    mkdirSync(this.folder);
  }

  protected override sourceArgs(): readonly string[] {
    return ['--manifests', this.folder];
  }

  protected override onEvent(event: AgentEvent): void {
    const marker = /ConfigMap (marker-\d+)/.exec(event.message)?.[1];
    if (marker !== undefined) this.#said.add(marker);
  }

  /** Writes a manifest as an editor does that renames: JSON documents, one for each object. */
  write(file: string, ...objects: readonly object[]): void {
    const hidden = `${this.folder}/.${file}.new`;
    writeFileSync(hidden, objects.map((object) => `---\n${JSON.stringify(object)}\n`).join(''));
    renameSync(hidden, `${this.folder}/${file}`);
  }

  remove(file: string): void {
    rmSync(`${this.folder}/${file}`);
  }

  /** Writes a manifest and returns once the agent has taken it in and no row is pending. */
  async apply(file: string, ...objects: readonly object[]): Promise<void> {
    // An object of another kind is noted by name: the agent then has read this version of the file.
    const marker = `marker-${++this.#marker}`;
    this.write(file, ...objects, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: marker },
    });
    await this.until(`${file} to be read`, () => this.#said.has(marker));
    await this.until(
      `${file} to be in force`,
      async () => (await this.status()).rows.pending === 0,
    );
  }
}
