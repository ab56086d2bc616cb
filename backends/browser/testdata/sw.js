addEventListener('install', () => skipWaiting());
addEventListener('activate', (e) => e.waitUntil(clients.claim()));
addEventListener('fetch', (e) => { if (new URL(e.request.url).pathname === '/from-worker') e.respondWith(new Response('answered')); });
