import { test } from 'node:test';
import type { ObjectChange, ObjectRef, Protocol } from '@heddle/objects';
import fc from 'fast-check';
import { edit, question } from '../testing/arbitraries.ts';
import { Comparison } from '../testing/compare.ts';
import { newestProblem } from '../testing/compiled-verdict.ts';
import { recordOf } from '../testing/objects.ts';

// HEDDLE_RUNS sets the number of random worlds, each with some 80 edits and 80 connections.
// QuickJS, which has no process, takes twenty times as long for each.
const { process } = globalThis;
const numRuns = process ? Number(process.env.HEDDLE_RUNS ?? 60) : 8;

function changeOf({ op, object }: { readonly op: string; readonly object: object }): ObjectChange {
  const record = recordOf(object);
  if (op === 'set') return { op, object: record };
  const { kind, namespace, name }: ObjectRef = record;
  if (op === 'delete') return { op, kind, namespace, name };
  return { op: 'invalid', kind, namespace, name, reason: newestProblem };
}

test('models decide as the judge does after random edits, and as models from scratch', () => {
  const batch = fc.record({
    edits: fc.array(edit, { minLength: 1, maxLength: 12 }),
    questions: fc.array(question, { minLength: 10, maxLength: 10 }),
  });
  const base = fc.array(edit, { minLength: 20, maxLength: 40, size: 'max' });
  const batches = fc.array(batch, { minLength: 4, maxLength: 12, size: 'max' });
  fc.assert(
    fc.property(base, batches, (objects, changes) => {
      const comparison = new Comparison('n1', 'n2');
      comparison.apply(objects.map(changeOf));
      for (const { edits, questions } of changes) {
        comparison.apply(edits.map(changeOf));
        comparison.checkFromScratch();
        for (const { service, ...more } of questions) {
          const [port, protocol] = service.split('/');
          const names = more.names ? { names: more.names } : {};
          comparison.ask({
            ...{ from: more.from, to: more.to, ...names },
            ...{ port: Number(port), protocol: protocol as Protocol | 'other' },
          });
        }
      }
    }),
    { numRuns },
  );
});
