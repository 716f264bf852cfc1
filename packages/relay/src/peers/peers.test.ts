import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerNode } from '@heddle/hubble';
import { type ChangeNotification, ChangeNotificationType } from '@heddle/hubble/messages';
import { messageOf } from './back-off.ts';
import { apply } from './follow-peers.ts';

test('an error that a peer has chosen is one short line', () => {
  const text = messageOf(new Error(`first\r\nheddle relay: forged\u001b[2J${'x'.repeat(1000)}`));
  assert.match(text, /^first heddle relay: forged \[2Jx+$/);
  assert.equal(text.length, 300);
});

test('peers with names or addresses that no node has are left out', () => {
  const peers = new Map<string, PeerNode>();
  const add = (name: string, address = '192.0.2.1:4244') => {
    const type = ChangeNotificationType.PEER_ADDED;
    const change: ChangeNotification = {
      $typeName: 'peer.ChangeNotification',
      ...{ name, address, type },
    };
    apply(peers, change);
  };
  add('berlin/n1');
  for (const name of ['', 'n2\nforged', 'x'.repeat(513)]) add(name);
  add('n3', 'x'.repeat(513));
  add('n4', '192.0.2.4:4244\n');
  assert.deepEqual([...peers.keys()], ['berlin/n1']);
});
