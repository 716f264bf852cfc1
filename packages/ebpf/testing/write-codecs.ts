// Writes testdata/generated/codecs.ts anew, after the generator or testdata/codecs.o has changed:
// `node packages/ebpf/testing/write-codecs.ts`.
import { writeFileSync } from 'node:fs';
import { codecsOf } from './codecs-of.ts';
import { fixture } from './fixture.ts';

const file = new URL('../testdata/generated/codecs.ts', import.meta.url);
writeFileSync(file, codecsOf(fixture('codecs.o')));
