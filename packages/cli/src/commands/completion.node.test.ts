import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { heddle, root } from '../../testing/heddle.ts';

const installed = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-completion-'));
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await heddle(['completion', shell]);
    assert.equal(code, 0);
    writeFileSync(join(folder, shell), stdout);
  }
});
after(() => rmSync(folder, { recursive: true }));

/** Returns the words that bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script = `source ${join(folder, 'bash')}
    COMP_WORDS=(heddle ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
    _heddle; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: root, encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

describe('bash completion', { skip: !installed('bash') && 'bash is not installed' }, () => {
  it('offers commands and subcommands', () => {
    assert.deepEqual(offered('s'), ['status', 'service', 'simulate']);
    assert.deepEqual(offered('service', ''), ['list', 'get', '--help']);
    assert.deepEqual(offered('lab', 'e'), ['exec']);
  });

  it('offers the options of the command', () => {
    assert.deepEqual(offered('service', 'list', '--n'), ['--namespace']);
    assert.deepEqual(offered('agent', '--max-s'), ['--max-services', '--max-slots']);
    assert.deepEqual(offered('agent', '--api-server', 'x', '--he'), ['--health-address', '--help']);
    assert.ok(!offered('status', '--').includes('--max-slots'));
  });

  it('offers the values of an option, and after them further words of the command', () => {
    assert.deepEqual(offered('status', '-o', ''), ['table', 'json']);
    assert.deepEqual(offered('status', '-o', 'json', '--so'), ['--socket']);
    assert.deepEqual(offered('service', 'list', '-n', 'get', '--na'), ['--namespace']);
    assert.deepEqual(offered('service', 'list', '-n', ''), []);
    assert.deepEqual(offered('completion', 'f'), ['fish']);
  });

  it('offers paths for arguments that are paths', () => {
    assert.deepEqual(offered('agent', '--config', 'tsconfig.c'), ['tsconfig.core.json']);
    assert.deepEqual(offered('agent', '--kubeconfig', 'package.'), ['package.json']);
    assert.ok(offered('validate', 'exam').includes('examples'));
    assert.deepEqual(offered('lab', 'exec', 'pod-1-1', '--', ''), []);
  });
});

for (const shell of ['zsh', 'fish']) {
  describe(`${shell} completion`, {
    skip: !installed(shell) && `${shell} is not installed`,
  }, () => {
    it('is a script that the shell parses', () => {
      const { status, stderr } = spawnSync(shell, ['-n', join(folder, shell)], {
        encoding: 'utf8',
      });
      assert.deepEqual([status, stderr], [0, '']);
    });
  });
}
