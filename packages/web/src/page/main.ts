import '../style/tokens.css';
import '../style/base.css';
import '../style/frame.css';
import '../style/login.css';
import { mount } from 'svelte';
import App from './App.svelte';

const target = document.getElementById('page')!;
target.replaceChildren();
mount(App, { target });
