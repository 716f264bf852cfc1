import type { PageState } from './state.svelte.ts';
import { windowKeys, windowOf } from './url.ts';
import { mainViews } from './words.ts';

/** Returns true for fields, where keys are text. */
function isField(target: EventTarget | null): boolean {
  return target instanceof Element && target.matches('input, textarea, select, [contenteditable]');
}

/** Handles the keys that all views share. Views handle theirs first and prevent the default then. */
export function handleKey(event: KeyboardEvent, page: PageState): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isField(event.target) || document.querySelector('dialog[open]')) return;
  const act = actionOf(event, page);
  if (!act) return;
  event.preventDefault();
  act();
}

function actionOf(event: KeyboardEvent, page: PageState): (() => void) | undefined {
  const { key } = event;
  const view = mainViews[Number(key) - 1];
  if (view) return () => page.navigate({ view });
  switch (key) {
    case '/':
      return () => document.querySelector<HTMLInputElement>('#filter')?.focus();
    case ' ':
      return isPressable(event.target) ? undefined : page.togglePause;
    case 't':
      return page.toggleTheme;
    case '[':
      return () => moveWindow(page, -1);
    case ']':
      return () => moveWindow(page, 1);
    case 'Escape':
      return () => page.navigate({ keys: { sel: undefined, row: undefined } });
    default:
      return undefined;
  }
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('button, a, summary, [role=button]') !== null;
}

/** Moves the window by its own length; forward beyond the present time makes it live again. */
export function moveWindow(page: PageState, steps: number): void {
  const { from, to } = page.range;
  const shift = (to - from) * steps;
  const window = windowOf(page.route);
  const isBeyond = to + shift >= page.now;
  const minutes = window.kind === 'range' ? 15 : window.minutes;
  const next =
    steps > 0 && isBeyond
      ? ({ kind: 'live', minutes } as const)
      : ({ kind: 'range', from: from + shift, to: to + shift } as const);
  page.navigate({ keys: windowKeys(next) });
}
