import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { AgentEvent } from '@heddle/agent';
import { AgentLab } from './agent-lab.ts';

/** A lab whose agent reads a folder of manifests. */
export class ManifestLab extends AgentLab {
  /** The folder of manifests. */
  readonly folder: string;
  /** The names of the markers that agents have read. */
  readonly #readMarkers = new Set<string>();
  #marker = 0;

  constructor(
    name: string,
    options: { nodes?: number; podsPerNode?: number; outside?: number } = {},
  ) {
    super(name, options);
    this.folder = `${this.directory}/manifests`;
    mkdirSync(this.folder);
  }

  protected override sourceArgs(): readonly string[] {
    return ['--manifests', this.folder];
  }

  protected override onEvent(event: AgentEvent): void {
    const marker = /ConfigMap (marker-\d+)/.exec(event.message)?.[1];
    if (marker !== undefined) this.#readMarkers.add(marker);
  }

  /**
   * Writes a manifest by renaming a new file, as editors do, with a JSON document for each object.
   */
  write(file: string, ...objects: readonly object[]): void {
    const hidden = `${this.folder}/.${file}.new`;
    writeFileSync(hidden, objects.map((object) => `---\n${JSON.stringify(object)}\n`).join(''));
    renameSync(hidden, `${this.folder}/${file}`);
  }

  remove(file: string): void {
    rmSync(`${this.folder}/${file}`);
  }

  /** Writes a manifest and resolves when the agent has read it and no row is pending. */
  async apply(file: string, ...objects: readonly object[]): Promise<void> {
    // The agent logs the name of an object of another kind, which shows that it has read this
    // version.
    const marker = `marker-${++this.#marker}`;
    this.write(file, ...objects, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: marker },
    });
    await this.until(`${file} to be read`, () => this.#readMarkers.has(marker));
    await this.until(
      `${file} to be programmed`,
      async () => (await this.status()).rows.pending === 0,
    );
  }
}
