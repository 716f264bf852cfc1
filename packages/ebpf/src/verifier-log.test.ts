import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarizeLog } from './verifier-log.ts';

test('the summary of a log has the reason and the source line before it', () => {
  const log = [
    '0: R1=ctx() R10=fp0',
    '; *value = 1; @ broken.bpf.c:21',
    '5: (7b) *(u64 *)(r0 +0) = r1',
    "R0 invalid mem access 'map_value_or_null'",
    'processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0',
    '',
  ].join('\n');
  assert.equal(
    summarizeLog(log),
    `R0 invalid mem access 'map_value_or_null' (at "*value = 1; @ broken.bpf.c:21")`,
  );
});

test('the summary of a log without source lines has the reason', () => {
  assert.equal(summarizeLog('0: (b7) r1 = 0\nR0 !read_ok\nprocessed 1 insns'), 'R0 !read_ok');
});

test('the summary of an empty log', () => {
  assert.equal(summarizeLog('\n\nprocessed 0 insns\n'), 'the verifier gave no reason');
});
