import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errno, errnoNames, errnoText } from './errno.ts';
import { checked, SysError } from './errors.ts';

describe('SysError', () => {
  test('SysError names what failed, the reason in words and the errno, and has no hint of its own', () => {
    const error = new SysError('openat', errno.EPERM, 'open /etc/shadow');
    assert.equal(error.message, 'open /etc/shadow: operation not permitted (EPERM)');
    assert.deepEqual([error.code, error.errno, error.syscall], ['EPERM', 1, 'openat']);
    assert.equal('cause' in error, false);
  });

  test('SysError has the words and the hint of its caller', () => {
    const error = new SysError('bpf', errno.E2BIG, 'update map x', {
      words: 'the map is full',
      hint: 'make it larger',
    });
    assert.equal(error.message, 'update map x: the map is full (E2BIG); make it larger');
  });

  test('about() keeps code, words and hint, and has the first error as its cause', () => {
    const options = { words: 'not a cgroup', hint: 'use another' };
    const first = new SysError('bpf', errno.EBADF, 'create link', options);
    const second = first.about('attach program p');
    assert.equal(second.message, 'attach program p: not a cgroup (EBADF); use another');
    assert.equal(second.cause, first);
    assert.equal(second.about('start').message, 'start: not a cgroup (EBADF); use another');
  });

  test('SysError has the number of an unknown errno', () => {
    const error = new SysError('read', 4000, 'read x');
    assert.equal(error.message, 'read x: unknown error (errno 4000)');
    assert.equal(error.code, 'errno 4000');
  });
});

test('checked returns a result, and throws the error of a negative one with its remedy', () => {
  assert.equal(checked('read', 7, 'read x'), 7);
  const remedies = { EPERM: 'run as root' };
  const call = (result: number) => () => checked('mount', result, 'mount x', remedies);
  assert.throws(call(-errno.EPERM), {
    message: 'mount x: operation not permitted (EPERM); run as root',
    hint: 'run as root',
  });
  assert.throws(call(-errno.EBUSY), { message: 'mount x: device or resource busy (EBUSY)' });
});

test('each errno has a name and words of its own', () => {
  for (const [name, value] of Object.entries(errno)) {
    assert.equal(errnoNames[value], name);
    assert.match(errnoText(value), new RegExp(`^\\S.+ \\(${name}\\)$`));
  }
});
