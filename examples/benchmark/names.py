# The names example in Flask: gunicorn -w 1 names:app
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post('/upload')
def upload():
    results = []
    for file in request.get_json()['files']:
        if len(file) < 10:
            results.append({'file': file, 'status': 'uploaded'})
        else:
            results.append({'file': file, 'status': 'failed', 'error': 'File name too long'})
    return jsonify({'results': results}), 207
