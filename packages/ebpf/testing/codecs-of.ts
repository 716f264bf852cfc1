import { generateBindings } from '../src/bindings.ts';
import { readObject } from '../src/object-spec.ts';

/** Returns the text that testdata/generated/codecs.ts must have. */
export function codecsOf(object: Uint8Array): string {
  const header = ['Written by testing/write-codecs.ts from testdata/codecs.o; not edited by hand.'];
  return generateBindings([readObject(object)], { maps: true, header });
}
