import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { TokenAccess } from './access.ts';

test('nobody is admitted while the token file cannot be read, and a new token counts', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] });
  const folder = mkdtempSync(join(tmpdir(), 'heddle-token-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'token');
  const [first, second] = ['a'.repeat(32), 'b'.repeat(32)];
  writeFileSync(file, first);
  const access = new TokenAccess(file);
  await access.admit(first);
  rmSync(file);
  t.mock.timers.tick(6000);
  for (let attempt = 0; attempt < 2; attempt++) {
    await assert.rejects(access.admit(first), /^Error: read token file/);
  }
  writeFileSync(file, second);
  await access.admit(second);
  await assert.rejects(access.admit(first), /does not accept this token/);
});
