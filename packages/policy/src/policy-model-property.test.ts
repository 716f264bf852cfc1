import { test } from 'node:test';
import type { ObjectChange, ObjectRef, Protocol } from '@heddle/objects';
import fc from 'fast-check';
import { edit, question } from '../testing/arbitraries.ts';
import { Comparison } from '../testing/compare.ts';
import { newestProblem } from '../testing/compiled-verdict.ts';
import { recordOf } from '../testing/objects.ts';

// HEDDLE_RUNS sets the number of random worlds, each with some twenty edits and forty connections.
const numRuns = Number(globalThis.process?.env.HEDDLE_RUNS ?? 60);

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
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 6 }), (batches) => {
      const comparison = new Comparison('n1', 'n2');
      for (const { edits, questions } of batches) {
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
