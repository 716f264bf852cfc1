// Checks the commits that are not on the upstream branch yet: `area: imperative`, a body, no
// merges.
import { execFileSync } from 'node:child_process';
import { root } from './files.ts';

/** The rule holds for the commits after this one. */
const lastOldCommit = '4e58768';
const subjectLimit = 72;

export interface Commit {
  readonly hash: string;
  readonly parents: number;
  readonly subject: string;
  readonly body: string;
}

/** Returns sentences about the errors of a commit. */
export function commitProblems({ parents, subject, body }: Commit): string[] {
  const problems: string[] = [];
  if (parents > 1) return ['is a merge commit; rebase instead'];
  if (subject.length > subjectLimit) {
    problems.push(`has a subject of ${subject.length} characters; at most ${subjectLimit}`);
  }
  if (!/^[a-z0-9][a-z0-9 ,/.-]*: [a-z]/.test(subject)) {
    problems.push('has a subject that does not read "area: imperative" in lower case');
  }
  if (body.trim() === '') problems.push('has no body that says why');
  return problems;
}

function git(...args: string[]): string {
  return execFileSync('git', args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function succeeds(...args: string[]): boolean {
  try {
    git(...args);
    return true;
  } catch {
    return false;
  }
}

/** Returns the commits to check: those since the merge base with the upstream branch, but no old ones. */
function newCommits(): Commit[] {
  const bases = [lastOldCommit, 'origin/main'].filter((base) =>
    succeeds('merge-base', '--is-ancestor', base, 'HEAD'),
  );
  // A shallow clone has no base; its last commit is checked.
  const range = bases.length === 0 ? ['-1', 'HEAD'] : ['HEAD', ...bases.map((base) => `^${base}`)];
  const text = git('log', '-z', '--format=%h%x01%P%x01%s%x01%b', ...range);
  return text
    .split('\0')
    .filter((entry) => entry.length > 0)
    .map((entry) => {
      const [hash, parents, subject, body] = entry.split('\x01') as [
        string,
        string,
        string,
        string,
      ];
      return { hash, parents: parents.split(' ').length, subject, body };
    });
}

if (import.meta.main) {
  for (const commit of newCommits()) {
    for (const problem of commitProblems(commit)) {
      console.error(`commit ${commit.hash} (${commit.subject}) ${problem}`);
      process.exitCode = 1;
    }
  }
}
