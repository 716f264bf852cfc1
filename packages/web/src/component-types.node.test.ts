import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typesOfComponent } from './component-types.ts';

const component = `<script lang="ts">
  interface Props { readonly items: readonly { name: string }[] }
  const { items }: Props = $props();
</script>

{#snippet row(name: string)}<b>{name}</b>{/snippet}
{#each items as item, index (item.name)}
  {#if index > 0}
    <button type="button" class:on={index === 1} onclick={() => item.name.trim()}>
      {item.name}
    </button>
  {:else}
    {@render row(item.name)}
  {/if}
{/each}
`;

test('a template becomes statements in which its expressions have their scope', () => {
  const { code } = typesOfComponent(component);
  for (const part of [
    'for (const item of each$(items)) {',
    'const index = 0 as number',
    'if (index > 0) {',
    'element$("button", {',
    '"onclick": (() => item.name.trim()),',
    'const row = snippet$((name: string, ) => {',
    'void (row(item.name));',
    'export default null! as Component$<Props>;',
  ]) {
    assert.ok(code.includes(part), `${part}\nis missing in\n${code}`);
  }
});

test('each line of the code knows its line of the component', () => {
  const { code, lines } = typesOfComponent(component);
  const lineOf = (part: string) => lines[code.slice(0, code.indexOf(part)).split('\n').length - 1];
  assert.equal(lines.length, code.split('\n').length);
  assert.equal(lineOf('$props()'), 3);
  assert.equal(lineOf('item.name.trim()'), 9);
  assert.equal(lineOf('row(item.name)'), 13);
});

test('a construct that the check does not know is an error', () => {
  assert.throws(() => typesOfComponent('{#await load}{/await}'), /AwaitBlock is not known/);
});
