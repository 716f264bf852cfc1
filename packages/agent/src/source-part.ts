import type { ObjectChange } from '@heddle/model';
import type { SourceProblem } from './status.ts';

/** What a source tells. */
export interface SourceSink {
  changed(changes: readonly ObjectChange[]): void;
  /** Everything that there is has been told once. Called once. */
  complete(): void;
  /** Something that whoever keeps the manifests should know. */
  note(subject: string, message: string): void;
}

/** A source that delivers to a SourceSink until it is disposed. */
export interface SourcePart extends Disposable {
  /** What of the source can't be used at present, e.g. files that are no YAML. */
  problems(): readonly SourceProblem[];
}
