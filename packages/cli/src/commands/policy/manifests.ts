import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isManifestName, ManifestSet, type SourceProblem } from '@heddle/agent/source';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type ObjectChange, ObjectReader, type ObjectRef } from '@heddle/objects';
import { type PolicyRecord, policyKey } from '@heddle/policy';
import { type RawRemarks, type ToolRecord, toolKinds } from '@heddle/policy-tools';

/** The objects of a folder, a file or standard input. */
export interface ReadManifests {
  readonly changes: readonly ObjectChange<ToolRecord>[];
  /** Parts that can't be read or used. */
  readonly problems: readonly SourceProblem[];
  /** Policies of kinds that Heddle does not enforce. */
  readonly otherPolicies: readonly SourceProblem[];
  /** Remarks about the text of each policy, by its key. */
  readonly remarks: ReadonlyMap<string, RawRemarks>;
  /** Returns the place of an object. */
  readonly locate: (ref: ObjectRef) => Pick<SourceProblem, 'file' | 'line'> | undefined;
}

const largestInput = 512 << 20;

/**
 * Reads the manifests of a folder (without those below), of one file, or of standard input for `-`. Throws a Failure whose
 * message begins with `verb`.
 */
export function readManifests(path: string, verb: string): ReadManifests {
  const remarks = new Map<string, RawRemarks>();
  const reader = new ObjectReader<ToolRecord>(
    toolKinds((policy: PolicyRecord, remark) => remarks.set(policyKey(policy), remark)),
  );
  const set = new ManifestSet(reader);
  const otherPolicies: SourceProblem[] = [];
  for (const { name, bytes } of inputs(path, verb)) {
    set.accept(name, set.parse(name, bytes));
    for (const { message, ...place } of set.notes(name)) {
      const what = /^(\w*NetworkPolicy \S* ?\([^)]*\)) is not used/.exec(message)?.[1];
      if (what === undefined) continue;
      const text = `${what} is not used: Heddle enforces NetworkPolicy (networking.k8s.io/v1) and ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2)`;
      otherPolicies.push({ ...place, message: text });
    }
  }
  return {
    ...{ changes: set.takeChanges(), problems: set.problems(), otherPolicies, remarks },
    locate: (ref) => set.locate(ref),
  };
}

function* inputs(path: string, verb: string): Generator<{ name: string; bytes: Uint8Array }> {
  if (path === '-') {
    yield { name: 'standard input', bytes: readFileSync(0) };
    return;
  }
  const reading = <T>(name: string, read: (name: string) => T): T => {
    try {
      return read(name);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const cause = code === 'ENOENT' ? 'there is no such file or folder' : message;
      throw new Failure(exitCodes.failed, `${verb} ${name}: ${cause}`);
    }
  };
  const bytesOf = (name: string) => reading(name, (each) => readFileSync(each));
  const stats = (name: string) => reading(name, (each) => statSync(each));
  if (!stats(path).isDirectory()) {
    const bytes = bytesOf(path);
    if (bytes.length > largestInput) {
      throw new Failure(exitCodes.failed, `${verb} ${path}: it is larger than 512 MiB`);
    }
    yield { name: path, bytes };
    return;
  }
  const names = reading(path, (each) => readdirSync(each)).filter(isManifestName);
  const files = names
    .map((name) => join(path, name))
    .filter((name) => stats(name).isFile())
    .sort();
  if (files.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `${verb} ${path}: the folder holds no manifest (files that end in .yaml, .yml or .json)`,
    );
  }
  for (const name of files) yield { name, bytes: bytesOf(name) };
}
