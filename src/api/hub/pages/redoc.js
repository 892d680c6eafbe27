// ReDoc over the hub's own document.
window.Redoc.init('/openapi.json', {}, document.getElementById('docs'));
